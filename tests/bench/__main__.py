"""`make bench`: a stack of its own, three runs, the worst of each figure; printed, and appended to docs/performance.md."""

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import uvloop

from tests.bench.alone import signatures
from tests.bench.bulk import critical_beside_bulk
from tests.bench.inserts import backlog_inserted
from tests.bench.measure import Bench
from tests.bench.processes import beside
from tests.bench.report import Figures, shown, worst
from tests.bench.rival import SESSIONS, postfix_and_opendkim
from tests.bench.search import search
from tests.bench.taken import Taken, slow_mark
from tests.bench.tarpit import others_beside_a_tarpit
from tests.bench.webhooks import webhooks_alone
from tests.kit.stack import ROOT, Stack

_DOCUMENT = ROOT / "docs" / "performance.md"
_SENDER_SECONDS = 20.0
_REFERENCE_SECONDS = 1.0
_CALLS_PER_SECOND = 500  # of the measurement: how many calls it makes
_SINK, _BARE = 53, 54  # offsets from the port base, behind the stack's own


# Without a stack beside them, so that all of the machine is theirs.
_APART = ("sender", "postfix", "search", "webhooks")
PHASES = (*_APART, "bare", "idle", "accept", "batch", "path", "signed", "latency", "naive", "bulk", "tarpit", "inserts")


async def bench(
    seconds: float,
    runs: int,
    port_base: int,
    folder: Path,
    only: Sequence[str],
    asked: Callable[[], Awaitable[Figures]],
) -> list[Figures]:
    sink_file, sink_port = folder / "taken", port_base + _SINK
    with beside("tests.bench.sink", sink_port, str(sink_file)):
        taken = Taken(sink_file)
        found = [await _apart(seconds, sink_port, taken, only, asked) for _ in range(runs)]
        if set(only) <= set(_APART):
            return found
        knobs = {"UPSTREAM": f"127.0.0.1:{sink_port}", "SENDER_CONNECTIONS": str(SESSIONS)}  # as Postfix has there
        stack = Stack(folder / "run", port_base, knobs)
        async with stack:
            measured = Bench(stack, sink_port, taken, slow_mark(sink_file), port_base + _BARE, seconds)
            await measured.prepare()
            for number, figures in enumerate(found):
                figures.update(await _in_the_stack(measured, only))
                _tell(number, figures)
        return found


async def _apart(
    seconds: float, sink_port: int, taken: Taken, only: Sequence[str], asked: Callable[[], Awaitable[Figures]]
) -> Figures:
    phases: dict[str, Callable[[], Awaitable[Figures]]] = {
        "sender": lambda: _sender_alone(min(seconds, _SENDER_SECONDS)),
        "postfix": lambda: postfix_and_opendkim(seconds, sink_port, taken),
        "search": asked,
        "webhooks": lambda: webhooks_alone(round(seconds * _CALLS_PER_SECOND)),
    }
    return await _measured(phases, only)


async def _measured(phases: Mapping[str, Callable[[], Awaitable[Figures]]], only: Sequence[str]) -> Figures:
    """Each beside how fast the machine was right before it: a virtual one may be three times as slow as an hour ago."""
    figures: Figures = {}
    for name in (name for name in phases if name in only):
        made, took = signatures(_REFERENCE_SECONDS)
        found = {f"machine at {name}: RSA-2048 signatures per CPU-s": made / took, **await phases[name]()}
        print(f"{name}:", json.dumps({what: round(value, 3) for what, value in found.items()}), flush=True)
        figures |= found
    return figures


async def _sender_alone(seconds: float) -> Figures:
    """In a process of its own, whose CPU it counts."""
    command = [sys.executable, "-m", "tests.bench.alone", "--json", "--seconds", str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    figures: Figures = json.loads(said)
    return figures


async def _in_the_stack(measured: Bench, only: Sequence[str]) -> Figures:
    phases: dict[str, Callable[[], Awaitable[Figures]]] = {
        **measured.phases(),
        "bulk": lambda: critical_beside_bulk(measured),
        "tarpit": lambda: others_beside_a_tarpit(measured),
        "inserts": lambda: backlog_inserted(measured),
    }
    return await _measured(phases, only)


def _tell(number: int, figures: Figures) -> None:
    print(f"run {number + 1}:", json.dumps({name: round(value, 3) for name, value in figures.items()}), flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="make bench")
    arguments.add_argument("--seconds", type=float, default=60, help="of each measurement")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--port-base", type=int, default=27000)
    arguments.add_argument(
        "--only", nargs="+", choices=PHASES, default=PHASES, help="of the measurements", metavar="PHASE"
    )
    arguments.add_argument("--messages", type=int, nargs="+", default=[1_000_000], help="of search: sizes of its table")
    arguments.add_argument(
        "--standing", type=Path, help="of search: a folder that keeps its table for the next run, which goes on from it"
    )
    arguments.add_argument("--keep", action="store_true", help="append the report to docs/performance.md")
    given = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sendarix-bench-"))
    try:
        asked = partial(search, given.messages, given.standing)
        found = uvloop.run(bench(given.seconds, given.runs, given.port_base, folder, given.only, asked))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    day = dt.datetime.now(tz=dt.UTC).date()
    title = (
        f"### {day}, {given.runs} runs of {given.seconds:g} s, the worst of each\n\n"
        f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f} at the end\n\n"
    )
    report = title + shown(worst(found))
    print("\n" + report)
    if given.keep:
        with _DOCUMENT.open("a") as document:
            document.write("\n" + report)


if __name__ == "__main__":
    main()
