"""The skeleton every service runs in: start in order, serve until told to stop, drain in reverse.

A part that fails takes the process down loudly; whoever supervises it starts a new one. Nothing here is restarted.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from typing import Protocol

import uvloop

from chassis.settings import ServiceSettings
from chassis.telemetry import configure_logging, logger

_OBJECTS_PER_COLLECTION = 10_000  # new ones, that are still there; Python's own is 700
_log = logger("service")


class Part(Protocol):
    """Something with a beginning and an end: a consumer, a table, the HTTP server."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Crash:
    """Where background tasks report what must stop the service: the first report wins."""

    def __init__(self) -> None:
        self._reported: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def report(self, error: BaseException) -> None:
        if not self._reported.done():
            self._reported.set_result(error)

    def watch(self, task: asyncio.Task[None]) -> None:
        """Report the task's failure, should it fail."""

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                self.report(error)

        task.add_done_callback(ended)

    async def reported(self) -> BaseException:
        return await asyncio.shield(self._reported)


class Service(Protocol):
    """What a service's `app.py` builds: its parts in the order they start."""

    parts: Sequence[Part]
    crash: Crash


class Builder(Protocol):
    async def __call__(self) -> Service: ...


def run(name: str, settings: ServiceSettings, build: Builder) -> None:
    """Run until SIGTERM or SIGINT (exit 0 after draining), or until a part fails (exit 1)."""
    configure_logging(name, settings.instance, settings.log_level)
    uvloop.run(_run(settings, build))


async def _run(settings: ServiceSettings, build: Builder) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    service = await build()
    crashed = asyncio.create_task(service.crash.reported())
    stopped = asyncio.create_task(stopping.wait())
    started: list[Part] = []
    starting = asyncio.create_task(_start(service.parts, started))
    service.crash.watch(starting)
    await asyncio.wait({starting, crashed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not crashed.done():
        _settle_memory()
        _log.info("started", port=settings.port)
    await asyncio.wait({crashed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    starting.cancel()
    failure = crashed.result() if crashed.done() else None
    if failure is None:
        _log.info("draining")
    else:
        _log.critical("part_failed", exc_info=failure)
    try:
        async with asyncio.timeout(settings.drain_timeout.total_seconds()):
            for part in reversed(started):
                await part.stop()
    except TimeoutError:
        _log.warning("drain_timed_out", seconds=settings.drain_timeout.total_seconds())
    _log.info("stopped")
    if failure is not None:
        sys.exit(1)


def _settle_memory() -> None:
    """What is there now stays: the collector of cycles need not look at it again, nor so often at what is new.

    As Python has it, it took a busy service a twelfth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)


async def _start(parts: Sequence[Part], started: list[Part]) -> None:
    for part in parts:
        started.append(part)
        await part.start()
