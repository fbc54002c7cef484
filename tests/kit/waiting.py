"""Waiting for what must come true, with a deadline."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], *, within: float = 15, every: float = 0.02) -> None:
    """Return when `condition()` is true; raises TimeoutError when it was not within `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for here has no event to tell of it
            await asyncio.sleep(every)
