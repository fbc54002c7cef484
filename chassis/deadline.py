"""`asyncio.timeout` for hot paths: a limit that is set once, at a third of the CPU time.

Three of them a request were a twentieth of what a request costs. It must never be used where a limit may move.
"""

import asyncio
from types import TracebackType


class Within:
    """`with Within(seconds): await …` cancels what is awaited at its end, and raises TimeoutError."""

    __slots__ = ("_cancelling", "_expired", "_handle", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "there is nothing to cancel outside of a task"
        self._task = task
        self._cancelling = task.cancelling()
        self._handle = asyncio.get_running_loop().call_later(max(0.0, self._seconds), self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._handle.cancel()
        # As asyncio.timeout: another's cancellation, which came as well, is not swallowed.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
