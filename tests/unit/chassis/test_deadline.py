"""A limit of time says what asyncio.timeout would say (D74)."""

import asyncio

import pytest

from chassis.deadline import Within


async def test_what_is_done_in_time_is_let_through() -> None:
    with Within(10):
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError), Within(10):
        raise ZeroDivisionError


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
async def test_what_takes_longer_is_cancelled(seconds: float) -> None:
    waiting = asyncio.Event()
    with pytest.raises(TimeoutError), Within(seconds):
        await waiting.wait()
    waiting.set()
    await waiting.wait()  # nothing is left of it


async def test_the_inner_limit_is_not_taken_for_the_outer() -> None:
    with Within(10):
        with pytest.raises(TimeoutError), Within(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)


async def test_another_s_cancellation_is_no_timeout() -> None:
    async def work() -> None:
        with Within(10):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_limit_is_not_swallowed() -> None:
    limit = Within(10)

    async def work() -> None:
        with limit:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    limit._expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
