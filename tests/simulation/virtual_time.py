"""An event loop whose clock jumps: nobody waits for real, and the same seed gives the same run.

It must never touch a socket or a thread.
"""

import asyncio
import selectors
from typing import Any


class Stuck(Exception):
    """Nothing will ever happen again, and somebody still waits."""


class _Jump(selectors.SelectSelector):
    """Where a real loop would sleep, the time moves."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now
