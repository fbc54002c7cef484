"""Waiting for what must come true, with a deadline; for what has no event to tell of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], object], *, within: float = 15, every: float = 0.02) -> None:
    """Return when `condition()` is true; raises TimeoutError when it was not within `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(every)


async def eventually(condition: Callable[[], Awaitable[object]], *, within: float = 20, every: float = 0.15) -> None:
    """`until` for what must be asked for."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(every)


async def found(look: Callable[[], Awaitable[T | None]], *, within: float, every: float = 0.1) -> T:
    """What `look` finds, once it finds something."""
    async with asyncio.timeout(within):
        while (it := await look()) is None:
            await asyncio.sleep(every)
        return it
