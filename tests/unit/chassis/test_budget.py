"""Memory of large work is bounded by bytes (R5; D10)."""

import asyncio

import pytest

from chassis.budget import ByteBudget, NoRoom


async def test_rooms_share_the_budget_and_give_it_back() -> None:
    budget = ByteBudget(100)
    with budget.room() as first, budget.room() as second:
        await first.grow(60, within=0)
        await second.grow(40, within=0)
        await second.grow(10, within=0)  # it holds more already
        with pytest.raises(NoRoom):
            await first.grow(61, within=0)
        assert budget.held == 100
    assert budget.held == 0


async def test_who_waits_is_served_in_order_when_room_comes_free() -> None:
    budget, served = ByteBudget(100), []

    async def work(name: str, octets: int) -> None:
        with budget.room() as room:
            await room.grow(octets, within=5)
            served.append(name)
            await asyncio.sleep(0)

    with budget.room() as first:
        await first.grow(80, within=0)
        waiting = [asyncio.create_task(work("large", 90)), asyncio.create_task(work("small", 10))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert served == []  # 20 are free, but the large one came first
    await asyncio.gather(*waiting)
    assert served == ["large", "small"]
    assert budget.held == 0


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    budget = ByteBudget(100)
    with budget.room() as first:
        await first.grow(80, within=0)
        with budget.room() as second, pytest.raises(NoRoom):
            await second.grow(50, within=0.01)
        waiting = asyncio.create_task(budget.take(50, within=5))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        with budget.room() as third:
            await third.grow(20, within=0)
    assert budget.held == 0


async def test_what_was_granted_while_its_waiter_was_cancelled_is_not_lost() -> None:
    budget = ByteBudget(100)
    await budget.take(100, within=0)
    waiting = asyncio.create_task(budget.take(100, within=5))
    await asyncio.sleep(0)
    budget.give_back(100)  # grants it …
    waiting.cancel()  # … in the same moment
    await asyncio.wait({waiting})
    assert budget.held == 0


async def test_a_piece_larger_than_the_budget_gets_all_of_it_alone() -> None:
    budget = ByteBudget(100)
    with budget.room() as room:
        await room.grow(250, within=0)
        assert room.octets == budget.held == 100
    assert budget.held == 0


async def test_what_was_asked_for_and_is_not_needed_serves_others() -> None:
    budget = ByteBudget(100)
    with budget.room() as first, budget.room() as second:
        await first.grow(100, within=0)
        waiting = asyncio.create_task(second.grow(70, within=5))
        await asyncio.sleep(0)
        first.shrink(30)
        await waiting
        first.shrink(40)  # it holds less already
        assert budget.held == 100
    assert budget.held == 0
