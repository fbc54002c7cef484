"""A process of the simulation: tasks that can be frozen and killed at each step they take towards the outside.

A dead one has no effect any more, whatever its `finally` blocks still do.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from services.router.adapters.store import SqliteStore

_PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)


class Process:
    """Also its clock: the wall clock is wrong by `skew_ms`, the monotonic one is right."""

    def __init__(self, name: str, start_ms: int, skew_ms: int, fail: Callable[[str], None]) -> None:
        self.name = name
        self.dead = False
        self.frozen_at: float | None = None
        self.stores: list[SqliteStore] = []  # closed without a commit by a kill -9
        self.on_thaw: list[Callable[[], None]] = []
        self._start_ms = start_ms
        self._skew_ms = skew_ms
        self._fail = fail
        self._thawed = asyncio.Event()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)

    # what happens to it

    def kill(self) -> None:
        if self.dead:
            return
        self.dead = True
        for store in self.stores:
            store._connection.close()
        for task in list(self._tasks):
            task.cancel()

    def freeze(self) -> None:
        if self.frozen_at is None:
            self.frozen_at = self.monotonic()
            self._thawed.clear()

    def thaw(self) -> None:
        if self.frozen_at is not None:
            self.frozen_at = None
            self._thawed.set()
            for wake in self.on_thaw:
                wake()

    def report(self, error: BaseException) -> None:
        """As `chassis.service.Crash`: a failure that nobody named. Of a dead process it is no news."""
        if not self.dead:
            self._fail(f"{self.name} crashed: {error!r}")

    # what it does

    async def gate(self) -> None:
        """Each step towards the outside passes here."""
        if self.dead:
            raise asyncio.CancelledError
        while self.frozen_at is not None:
            await self._thawed.wait()
        if self.dead:
            raise asyncio.CancelledError

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, context=self.context)

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, call, *args, context=self.context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(error)

    # its clock

    def now_ms(self) -> int:
        return self._start_ms + round(self.monotonic() * 1000) + self._skew_ms

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await self.gate()
        await asyncio.sleep(seconds)
        await self.gate()


def owned_tasks(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    """The loop's task factory: a task belongs to the process in whose context it was made."""
    context = contextvars.copy_context() if context is None else context
    task = asyncio.Task(work, loop=loop, context=context)
    process = context.get(_PROCESS)
    if process is not None:
        process.adopt(task)
        if process.dead:
            task.cancel()
    return task
