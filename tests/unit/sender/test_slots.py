"""Who may begin: bounded, shared out, in order (R10, R21; D34)."""

import asyncio

import pytest

from schemas.mail import Priority
from services.sender.adapters.slots import PathSlots
from services.sender.ports import NoRoom, Way

WAY = Way("upstream", "upstream")


class Crowd:
    """Transactions that each end when told to."""

    def __init__(self, size: int) -> None:
        self._slots = PathSlots(size)
        self.running: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, destination: str = "d", priority: Priority = "normal") -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._run(name, destination, priority))
        await settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await settle()

    async def _run(self, name: str, destination: str, priority: Priority) -> None:
        async with self._slots.slot(WAY, destination, priority, within=60):
            self.running.append(name)
            await self._ends[name].wait()
            self.running.remove(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_never_more_than_its_size() -> None:
    crowd = Crowd(4)
    for n in range(10):
        await crowd.come(str(n), destination=f"d{n}")
    assert crowd.running == ["0", "1", "2", "3"]
    await crowd.end("1")
    assert crowd.running == ["0", "2", "3", "4"]


async def test_one_destination_gets_half_at_most() -> None:
    """D34: a destination that hangs leaves room for the others."""
    crowd = Crowd(4)
    for n in range(5):
        await crowd.come(f"slow{n}", destination="slow")
    assert crowd.running == ["slow0", "slow1"]
    await crowd.come("a", destination="a")
    await crowd.come("b", destination="b")
    assert crowd.running == ["slow0", "slow1", "a", "b"]
    await crowd.end("a")
    assert crowd.running == ["slow0", "slow1", "b"], "the free one is not the slow one's"


async def test_the_higher_priority_goes_first_and_equals_take_turns() -> None:
    crowd = Crowd(1)
    await crowd.come("first")
    order: list[tuple[str, str, Priority]] = [
        ("bulk", "x", "bulk"),
        ("n1", "x", "normal"),
        ("n2", "x", "normal"),
        ("other", "y", "normal"),
        ("high", "x", "high"),
        ("critical", "x", "critical"),
    ]
    for name, destination, priority in order:
        await crowd.come(name, destination, priority)
    seen = []
    for _ in range(7):
        (name,) = crowd.running
        seen.append(name)
        await crowd.end(name)
    assert seen == ["first", "critical", "high", "n1", "other", "n2", "bulk"]


async def test_who_goes_away_leaves_no_hole() -> None:
    crowd = Crowd(1)
    await crowd.come("a")
    await crowd.come("b")
    await crowd.come("c")
    await crowd.cancel("b")
    await crowd.end("a")
    assert crowd.running == ["c"]
    await crowd.cancel("c")
    await crowd.come("d")
    assert crowd.running == ["c", "d"] or crowd.running[-1] == "d"


async def test_a_slot_that_was_given_to_one_who_just_left_goes_on() -> None:
    slots = PathSlots(1)
    left, entered = asyncio.Event(), []

    async def hold() -> None:
        async with slots.slot(WAY, "a", "normal", within=60):
            await left.wait()

    async def enter(name: str) -> None:
        async with slots.slot(WAY, "a", "normal", within=60):
            entered.append(name)

    holder = asyncio.create_task(hold())
    await settle()
    b, c = asyncio.create_task(enter("b")), asyncio.create_task(enter("c"))
    await settle()
    left.set()
    await asyncio.sleep(0)  # the slot is b's now, and b has not run yet
    b.cancel()
    await asyncio.wait({holder, b, c}, timeout=1)
    assert "c" in entered


async def test_patience_ends() -> None:
    slots = PathSlots(1)
    async with slots.slot(WAY, "a", "normal", within=1):
        with pytest.raises(NoRoom):
            async with slots.slot(WAY, "a", "normal", within=0.01):
                raise AssertionError
    async with slots.slot(WAY, "a", "normal", within=0.01):
        pass


async def test_paths_do_not_share() -> None:
    slots = PathSlots(1)
    async with slots.slot(WAY, "a", "normal", within=1), slots.slot(Way("sandbox", "a"), "a", "normal", within=1):
        pass
