"""Processes that are kept running: one that dies is started again. Only what was started here is ever signalled."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.service import Crash
from chassis.telemetry import logger
from deploy.local.programs import ROOT, Program

RESTART_AFTER = 0.5  # seconds: soon enough for a watcher, slow enough not to burn a core on a program that can't start
_PR_SET_PDEATHSIG = 1
_log = logger("children")


@dataclass(slots=True)
class Child:
    """A program and its present process."""

    program: Program
    process: asyncio.subprocess.Process
    keeper: "asyncio.Task[None] | None" = None
    exits: int = 0
    last_exit: int | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.returncode is None


class Children:
    """All processes of a stack. `changed` is called whenever a pid is new, before anything else happens."""

    def __init__(self, clock: Clock, crash: Crash, changed: Callable[[], None]) -> None:
        self._clock = clock
        self._crash = crash
        self._changed = changed
        self._children: list[Child] = []

    @property
    def all(self) -> Sequence[Child]:
        return tuple(self._children)

    async def start(self, program: Program) -> Child:
        """Start it, and start it again whenever it ends, until it is stopped. Raises OSError where it can't start."""
        child = Child(program, await _spawn(program))
        self._children.append(child)
        self._changed()
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {program.name}")
        self._crash.watch(child.keeper)
        return child

    async def stop(self, children: Iterable[Child], within: float) -> None:
        """SIGTERM to all of them at once; after `within` seconds SIGKILL to those that are still there."""
        stopping = [child for child in children if child in self._children]
        for child in stopping:
            if child.keeper is not None:
                child.keeper.cancel()
            self._children.remove(child)
        await asyncio.gather(*(_end(child.process, within) for child in stopping))

    async def _keep(self, child: Child) -> None:
        while True:
            child.last_exit = await child.process.wait()
            child.exits += 1
            _log.warning("process_ended", process=child.program.name, pid=child.pid, status=child.last_exit)
            await self._clock.sleep(RESTART_AFTER)
            child.process = await self._respawn(child.program)
            self._changed()
            _log.info("process_restarted", process=child.program.name, pid=child.pid)

    async def _respawn(self, program: Program) -> asyncio.subprocess.Process:
        while True:
            try:
                return await _spawn(program)
            except OSError as error:  # no memory, no process to be had, a full disk: it may pass
                _log.error("process_not_started", process=program.name, exc_info=error)
                await self._clock.sleep(RESTART_AFTER)


async def _spawn(program: Program) -> asyncio.subprocess.Process:
    program.log_file.parent.mkdir(parents=True, exist_ok=True)
    with program.log_file.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *program.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **program.environment},  # noqa: TID251 — handed on, not read
            preexec_fn=die_with_parent,
        )


async def _end(process: asyncio.subprocess.Process, within: float) -> None:
    for number in (signal.SIGTERM, signal.SIGCONT):  # the second wakes one that was frozen
        _signal(process, number)
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        try:
            process.send_signal(number)
        except ProcessLookupError:
            return  # it ended meanwhile


def die_with_parent() -> None:
    """Runs in a new child: should its parent be killed, Linux kills the child, too, so that nothing is left behind."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_LIBC: Any = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork
