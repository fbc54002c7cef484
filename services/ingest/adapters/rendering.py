"""Renders customers' templates in worker processes: a bomb ends its worker, not the service, and never holds this loop.

Requests of one moment go to a worker together, for waking it costs more than rendering. Each still has its own 50 ms.
Where one of them was ended for what it took, all that went with it are made again, one by one: then each gets its own
verdict. What a worker has to say about templates comes back as a value; a worker that is lost for another reason is
replaced, and its requests are made again once, for rendering changes nothing.
"""

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

import services
from chassis.deadline import Within
from chassis.telemetry import logger
from services.ingest import metrics
from services.ingest.domain.faults import Refused
from services.ingest.domain.templates import MAX_RENDERED_OCTETS, Mistake, Part, Rendered, Stopped, mistaken, stopped

# Two mails at a time: rendering takes 0.1 ms, a bomb 50 ms, and one customer's bomb leaves a worker for the others.
WORKERS = 2
# Time by the wall, for a machine so busy that 50 ms of CPU do not come: then it is our fault, not the template's.
WITHIN_SECONDS = 2.0
RETRY_AFTER_SECONDS = 2
# What goes to a worker at once: some milliseconds of honest work, and small beside its memory.
_TOGETHER = 16
_TOGETHER_OCTETS = 64 * 1024

_LENGTH = 4
_ROOT = Path(services.__path__[0]).parent
_MODULE = "services.ingest.adapters.render_worker"
_log = logger("rendering")
Json = dict[str, Any]


class WorkerLost(Exception):
    """The process ended, or does not answer."""


class Worker:
    """One guardian with its worker, and the socket to them."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> "Worker":
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env={"PYTHONPATH": str(_ROOT)},
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer)

    async def ask(self, requests: Sequence[bytes]) -> list[Json] | Json:
        """A reply to each; or one word, where the worker was ended. Raises WorkerLost."""
        frame = b"[%s]" % b",".join(requests)
        try:
            self._writer.write(len(frame).to_bytes(_LENGTH) + frame)
            head = await self._reader.readexactly(_LENGTH)
            reply: list[Json] | Json = orjson.loads(await self._reader.readexactly(int.from_bytes(head)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerLost(repr(error)) from error
        return reply

    def hang_up(self) -> None:
        """Both processes end when they see it: at once, or after the 50 ms of a request at hand."""
        self._writer.close()

    async def ended(self) -> None:
        await self._process.wait()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request and who waits for its reply."""

    request: bytes
    reply: "asyncio.Future[Json]"


class RenderingPool:
    """Started workers wait here; each is started when one is first needed."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._free = workers
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._waiting: deque[_Asked] = deque()
        self._alone: deque[_Asked] = deque()  # of these one may be a bomb
        self._serving: set[asyncio.Task[None]] = set()
        self._soon: asyncio.Handle | None = None

    async def start(self) -> None:
        """Nothing: a service that never sees a template starts no process."""

    async def stop(self) -> None:
        for serving in self._serving:
            serving.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        workers = list(self._all)
        for worker in workers:
            worker.hang_up()
        await asyncio.gather(*(worker.ended() for worker in workers))
        self._all.clear()
        self._idle.clear()

    async def render(self, parts: Mapping[Part, str], data: Json) -> Rendered:
        """Raises Refused: 422 for what is wrong with the template or its data."""
        reply = await self._ask(parts, data)
        _raise_for(reply, "template.")
        return Rendered(**reply["made"])

    async def variables(self, parts: Mapping[Part, str]) -> list[str]:
        """The names that the sources use. Raises Refused: 422 for what is no template."""
        reply = await self._ask(parts, None)
        _raise_for(reply, "")
        found: list[str] = reply["variables"]
        return found

    async def _ask(self, parts: Mapping[Part, str], data: Json | None) -> Json:
        # Sorted: a repeat with the members in another order is the same request, and must make the same mail.
        request = orjson.dumps(
            {"parts": parts, "data": data, "limit": MAX_RENDERED_OCTETS}, option=orjson.OPT_SORT_KEYS
        )
        asked = _Asked(request, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._soon is None:  # when all requests of this moment have come
            self._soon = asyncio.get_running_loop().call_soon(self._serve)
        try:
            with Within(WITHIN_SECONDS):
                return await asked.reply
        except (TimeoutError, WorkerLost, OSError) as error:
            _log.error("rendering_unavailable", reason=repr(error))
            message = "Templates can not be rendered at this moment."
            raise Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS) from error

    def _serve(self) -> None:
        self._soon = None
        while self._free and (bundle := self._next()):
            self._free -= 1
            serving = asyncio.create_task(self._answer(bundle), name="rendering")
            self._serving.add(serving)
            serving.add_done_callback(self._served)

    def _served(self, serving: "asyncio.Task[None]") -> None:
        self._serving.discard(serving)
        self._free += 1
        self._serve()

    def _next(self) -> list[_Asked]:
        """What goes to a worker next: one that must be alone, or a moment's requests together."""
        for queue, most in ((self._alone, 1), (self._waiting, _TOGETHER)):
            bundle, octets = list[_Asked](), 0
            while queue and len(bundle) < most and (not bundle or octets + len(queue[0].request) <= _TOGETHER_OCTETS):
                asked = queue.popleft()
                if not asked.reply.done():  # else nobody waits any more
                    bundle.append(asked)
                    octets += len(asked.request)
            if bundle:
                return bundle
        return []

    async def _answer(self, bundle: Sequence[_Asked]) -> None:
        try:
            replies = await self._asked([asked.request for asked in bundle])
        except (TimeoutError, WorkerLost, OSError) as error:
            for asked in bundle:
                if not asked.reply.done():
                    asked.reply.set_exception(WorkerLost(repr(error)))
            return
        for asked, reply in zip(bundle, replies, strict=True):
            if len(bundle) > 1 and reply.get("stopped") in {"time", "memory"}:
                self._alone.append(asked)
            elif not asked.reply.done():
                asked.reply.set_result(reply)

    async def _asked(self, requests: Sequence[bytes]) -> Sequence[Json]:
        async with asyncio.timeout(WITHIN_SECONDS):
            try:
                replies = await self._with_worker(requests)
            except WorkerLost as error:
                _log.warning("render_worker_lost", reason=str(error))
                replies = await self._with_worker(requests)
        return [replies] * len(requests) if isinstance(replies, dict) else replies

    async def _with_worker(self, requests: Sequence[bytes]) -> list[Json] | Json:
        """A worker that did not answer (also where this task was cancelled) is given up: its answer may still come."""
        worker = self._idle.pop() if self._idle else await self._started()
        answered = False
        try:
            replies = await worker.ask(requests)
            answered = True
        finally:
            if answered:
                self._idle.append(worker)
            else:
                self._all.discard(worker)
                worker.hang_up()
        return replies

    async def _started(self) -> Worker:
        worker = await Worker.start()
        self._all.add(worker)
        return worker


def _raise_for(reply: Json, prefix: str) -> None:
    if "stopped" in reply:
        metrics.stopped_renderings.labels(reply["stopped"]).inc()
        raise stopped(Stopped(reply["stopped"]))
    if "faults" in reply:
        mistakes = [Mistake(**fault) for fault in reply["faults"]]
        raise mistaken(mistakes, prefix)
