"""Waiting for what must be asked for, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[object]], *, within: float = 20, every: float = 0.15) -> None:
    """Return when `await condition()` is true; raises TimeoutError when it was not within `within` seconds."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(every)
