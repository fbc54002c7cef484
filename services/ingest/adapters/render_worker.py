"""The process in which customers' templates run: `python -m services.ingest.adapters.render_worker`, a socket as stdin.

Templates are hostile. Fuel ends most bombs, but not all: a chain of 100,000 operators overflows the stack, a nested
list doubles itself into all memory, a filter may run for long at one go. So the kernel guards: a timer of CPU time and
a limit of memory, both of which end the process. A guardian stays, says so to the service and forks the next worker,
which is ready within a millisecond or two.

It imports nothing of the service but pure functions, and its environment holds no secret.

Frames, both ways: four bytes of length (big endian), then JSON: a list of requests, a list of their replies in order. Each
request has its own time. The guardian's word, that its worker was ended, stands for the whole list.
"""

import os
import resource
import signal
import sys
from functools import lru_cache
from typing import Any, BinaryIO, NoReturn

import minijinja
import orjson

from services.ingest.domain.plain_text import plain_text

# A request's CPU time, all parts of one mail together; fuel ends an honest mistake long before.
CPU_SECONDS = 0.05
FUEL = 250_000  # about one unit a step, and a byte of what a filter makes: 20 to 30 ms at most
MEMORY_BYTES = (
    192 * 1024 * 1024
)  # address space: 32 MiB are the interpreter's, a mail of the largest size takes some 10
MAX_CACHED_SOURCE = 64 * 1024  # larger sources are compiled each time, so that the cache stays small
CACHED_SOURCES = 256
# How a bomb ends this process: its time, its memory (an abort of the allocator), its stack.
BOMB_SIGNALS = frozenset({signal.SIGPROF, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS})

_LENGTH = 4
_FAILED = 1  # exit status after an uncaught exception: a panic of the engine is one
Json = dict[str, Any]


def guard() -> NoReturn:
    """Fork workers, one after the other, until the service hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which drains first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    while True:
        worker = os.fork()
        if worker == 0:
            _work()
        _, status = os.waitpid(worker, 0)
        code = os.waitstatus_to_exitcode(status)
        if -code not in BOMB_SIGNALS and code != _FAILED:
            sys.exit(0)  # the service hung up, or somebody ended the worker
        try:
            _write(sys.stdout.buffer, {"stopped": "time" if -code == signal.SIGPROF else "memory"})
        except BrokenPipeError:
            os._exit(0)  # nobody waits for it any more


def _work() -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # the last words of an abort are of no use
    status = _FAILED
    try:
        while (requests := _read(sys.stdin.buffer)) is not None:
            replies = []
            for request in requests:
                signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
                replies.append(answer(request))
                signal.setitimer(signal.ITIMER_PROF, 0)
            _write(sys.stdout.buffer, replies)
        status = 0
    finally:
        os._exit(status)


def answer(request: Json) -> Json:
    try:
        if request["data"] is None:
            return _check(request["parts"])
        return _render(request["parts"], request["data"], request["limit"])
    except MemoryError:
        return {"stopped": "memory"}


def _render(parts: dict[str, str], data: Json, limit: int) -> Json:
    made: dict[str, str] = {}
    left = limit
    for part, source in _in_order(parts):
        try:
            made[part] = _compiled(source, part == "html").render_template(_name(part), **data)
        except minijinja.TemplateError as error:
            return {"faults": [_fault(part, error)]}
        left -= len(made[part].encode())
        if left < 0:
            return {"stopped": "size"}
    if "html" in made and "text" not in made:
        made["text"] = plain_text(made["html"])
    return {"made": made}


def _check(parts: dict[str, str]) -> Json:
    """Every syntax error (the engine finds one in each part), or the variables."""
    faults: list[Json] = []
    variables: set[str] = set()
    for part, source in _in_order(parts):
        try:
            engine = _compiled(source, part == "html")
            used = engine.undeclared_variables_in_template(_name(part), nested=True)
            variables |= {name for name in used if name.partition(".")[0] not in engine.globals}
        except minijinja.TemplateError as error:
            faults.append(_fault(part, error))
    return {"faults": faults} if faults else {"variables": sorted(variables)}


def _in_order(parts: dict[str, str]) -> list[tuple[str, str]]:
    """So that of several mistakes the first is named."""
    return [(part, parts[part]) for part in ("subject", "text", "html") if part in parts]


def _compiled(source: str, html: bool) -> minijinja.Environment:
    return _cached(source, html) if len(source) <= MAX_CACHED_SOURCE else _compile(source, html)


def _compile(source: str, html: bool) -> minijinja.Environment:
    """An environment of its own, so that no template can include another's."""
    environment = minijinja.Environment(
        fuel=FUEL,
        undefined_behavior="strict",
        auto_escape_callback=lambda name: "html" if name == _name("html") else None,
        debug=True,  # so that errors name the variable
    )
    environment.remove_global("debug")
    environment.add_template(_name("html" if html else "text"), source)
    return environment


_cached = lru_cache(maxsize=CACHED_SOURCES)(_compile)


def _name(part: str) -> str:
    return "html" if part == "html" else "text"


def _fault(part: str, error: minijinja.TemplateError) -> Json:
    return {"part": part, "kind": error.kind, "line": error.line, "detail": (error.detail or error.kind)[:300]}


def _read(source: BinaryIO) -> list[Json] | None:
    head = source.read(_LENGTH)
    if len(head) < _LENGTH:
        return None
    body = source.read(int.from_bytes(head))
    requests: list[Json] = orjson.loads(body)
    return requests


def _write(sink: BinaryIO, said: list[Json] | Json) -> None:
    body = orjson.dumps(said)
    sink.write(len(body).to_bytes(_LENGTH) + body)
    sink.flush()


if __name__ == "__main__":
    guard()
