"""`make bench-scheduled` and `make bench-waiting`: what much mail that stands costs a router that starts.

A stack of its own. Mail for another day is written, or bulk mail while the senders are held; then the router is ended in
order, as a deployment does, and is timed until it is ready again: with its local files, and without them.
"""

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Literal

import uvloop

from deploy.local.layout import Layout
from deploy.local.readiness import missing_of
from tests.bench.bulk import settled
from tests.bench.filling import Filler
from tests.bench.processes import beside, cpu_seconds, held, resident_mb
from tests.bench.report import Figures, shown
from tests.bench.taken import Taken
from tests.kit.stack import ROOT, Stack
from tests.kit.waiting import eventually, until

Kind = Literal["scheduled", "waiting"]
_DOCUMENT = ROOT / "docs" / "performance.md"
_SINK = 53  # offset from the port base, behind the stack's own
_MOST_BURST = 5000  # mails, for the dispatch rate
_READY_WITHIN = 900.0
_EVERY = 0.1


async def standing(kind: Kind, count: int, port_base: int, folder: Path) -> Figures:
    sink_file, sink_port = folder / "taken", port_base + _SINK
    with beside("tests.bench.sink", sink_port, str(sink_file)):
        stack = Stack(folder / "run", port_base, {"UPSTREAM": f"127.0.0.1:{sink_port}"})
        async with stack:
            return await Standing(stack, Filler(stack), Taken(sink_file)).measure(kind, count)


class Standing:
    """One measurement in a running stack."""

    def __init__(self, stack: Stack, filler: Filler, taken: Taken) -> None:
        self._stack = stack
        self._filler = filler
        self._taken = taken

    async def measure(self, kind: Kind, count: int) -> Figures:
        figures: Figures = {f"{kind} mails": count, "router MB, empty": self._router_mb()}
        burst = min(_MOST_BURST, count)
        if kind == "scheduled":
            await self._dispatched_per_second(burst)  # warm
            figures["dispatched/s, empty"] = await self._dispatched_per_second(burst)
        with self._senders_held(kind):
            figures |= await self._fill(kind, count)
            _tell(figures)
            if kind == "scheduled":
                figures["dispatched/s, full"] = await self._dispatched_per_second(burst)
                figures["full / empty"] = figures["dispatched/s, full"] / figures["dispatched/s, empty"]
            figures |= await self._restart(f"{kind}, with its files", lose_files=False)
            _tell(figures)
            figures |= await self._restart(f"{kind}, without its files", lose_files=True)
        return figures

    def _senders_held(self, kind: Kind) -> contextlib.AbstractContextManager[None]:
        return held(self._stack.pid("sender")) if kind == "waiting" else contextlib.nullcontext()

    async def _fill(self, kind: Kind, count: int) -> Figures:
        """Until all services have dealt with it."""
        began, before = time.monotonic(), cpu_seconds(self._stack.pid("router"))
        await (self._filler.scheduled(count) if kind == "scheduled" else self._filler.bulk(count))
        await settled(self._stack.description["kafka"], within=120 + count / 50)
        took, used = time.monotonic() - began, cpu_seconds(self._stack.pid("router")) - before
        return {
            "taken in/s": count / took,
            "router CPU-s per 1,000 taken in": used / count * 1000,
            f"{kind}, filled: router MB": self._router_mb(),
        }

    async def _dispatched_per_second(self, burst: int) -> float:
        """From the first append until the mail server has the last."""
        began = time.monotonic()
        ids = await self._filler.burst(burst)

        def all_there() -> bool:
            self._taken.read()
            return all(one in self._taken.moments for one in ids)

        await until(all_there, within=60 + burst / 25, every=_EVERY)
        took = max(self._taken.moments[one] for one in ids) - began
        await settled(self._stack.description["kafka"], within=120)
        return len(ids) / took

    async def _restart(self, name: str, *, lose_files: bool) -> Figures:
        """From the signal on, the start of the interpreter with it."""
        old, began = self._stack.pid("router"), time.monotonic()
        if lose_files:
            shutil.rmtree(Layout(self._stack.run_dir, self._stack.port_base).state_dir("router", 1))
        os.kill(old, signal.SIGTERM)
        url = next(p["url"] for p in self._stack.description["processes"] if p["service"] == "router")

        async def ready() -> bool:
            return self._stack.pid("router") != old and not await missing_of(url)

        await eventually(ready, within=_READY_WITHIN, every=_EVERY)
        took, pid = time.monotonic() - began, self._stack.pid("router")
        await asyncio.sleep(2.0)  # its first ticks: queues are counted then
        return {
            f"{name}: seconds to ready": took,
            f"{name}: CPU-s": cpu_seconds(pid),
            f"{name}: router MB": self._router_mb(),
        }

    def _router_mb(self) -> float:
        return resident_mb(self._stack.pid("router"))


def _tell(figures: Figures) -> None:
    """So far: at a million mails it takes an hour."""
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}), flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="make bench-scheduled, make bench-waiting")
    arguments.add_argument("kind", choices=["scheduled", "waiting"])
    arguments.add_argument("--count", type=int, required=True, help="mails that stand")
    arguments.add_argument("--port-base", type=int, default=27100)
    arguments.add_argument("--keep", action="store_true", help="append the report to docs/performance.md")
    given = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sendarix-bench-"))
    try:
        figures = uvloop.run(standing(given.kind, given.count, given.port_base, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = (
        f"### {dt.datetime.now(tz=dt.UTC).date()}, {given.count:,} {given.kind}\n\n"
        f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f} at the end\n\n{shown(figures)}"
    )
    print("\n" + report)
    if given.keep:
        with _DOCUMENT.open("a") as document:
            document.write("\n" + report)


if __name__ == "__main__":
    main()
