"""`make bench`: a stack of its own, three runs, the worst of each figure; printed, and appended to docs/performance.md."""

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path

import uvloop

from tests.bench.bulk import critical_beside_bulk
from tests.bench.measure import Bench
from tests.bench.processes import beside
from tests.bench.report import Figures, shown, worst
from tests.bench.taken import Taken, slow_mark
from tests.kit.stack import ROOT, Stack

_DOCUMENT = ROOT / "docs" / "performance.md"
_SINK, _BARE = 53, 54  # offsets from the port base, behind the stack's own


async def bench(seconds: float, runs: int, port_base: int, folder: Path) -> list[Figures]:
    sink_file, sink_port = folder / "taken", port_base + _SINK
    with beside("tests.bench.sink", sink_port, str(sink_file)):
        stack = Stack(folder / "run", port_base, {"UPSTREAM": f"127.0.0.1:{sink_port}"})
        async with stack:
            measured = Bench(stack, sink_port, Taken(sink_file), slow_mark(sink_file), port_base + _BARE, seconds)
            await measured.prepare()
            found = []
            for number in range(runs):
                figures = await measured.run() | await critical_beside_bulk(measured)
                print(f"run {number + 1}:", json.dumps({name: round(value, 3) for name, value in figures.items()}))
                found.append(figures)
            return found


def main() -> None:
    arguments = argparse.ArgumentParser(prog="make bench")
    arguments.add_argument("--seconds", type=float, default=60, help="of each measurement")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--port-base", type=int, default=27000)
    arguments.add_argument("--keep", action="store_true", help="append the report to docs/performance.md")
    given = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sendarix-bench-"))
    try:
        found = uvloop.run(bench(given.seconds, given.runs, given.port_base, folder))
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
