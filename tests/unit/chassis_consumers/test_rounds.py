"""Rounds: who begins with whom, and who never waits for long (D41)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chassis.clock import SystemClock
from chassis.rounds import Rounds


class Log:
    """What happened, in order; `end` lets one of those at work go."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._ends: dict[str, asyncio.Event] = {}
        self.did: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._work(name))

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.tasks[name]

    async def _work(self, name: str) -> None:
        async with self._rounds.turn():
            self.did.append(name)
            await self._ends[name].wait()


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    log = Log(Rounds(SystemClock()))
    yield log
    for task in log.tasks.values():
        task.cancel()
    await asyncio.gather(*log.tasks.values(), return_exceptions=True)


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_those_who_come_together_begin_together_and_at_once(log: Log) -> None:
    for name in "abc":
        log.begin(name)
    await turns()
    assert log.did == ["a", "b", "c"]


async def test_who_comes_later_begins_when_the_whole_round_has_ended(log: Log) -> None:
    log.begin("a")
    log.begin("b")
    await turns()
    log.begin("c")
    log.begin("d")
    await log.end("a")
    await turns()
    assert log.did == ["a", "b"]
    await log.end("b")
    await turns()
    assert log.did == ["a", "b", "c", "d"]


async def test_a_stuck_one_holds_nobody_up_for_longer_than_a_moment(log: Log) -> None:
    log.begin("stuck")
    await turns()
    log.begin("next")
    async with asyncio.timeout(5):
        while log.did != ["stuck", "next"]:
            await asyncio.sleep(0.01)
        await log.end("next")
        log.begin("third")
        while "third" not in log.did:
            await asyncio.sleep(0.01)


async def test_who_is_cancelled_while_it_waits_is_not_waited_for(log: Log) -> None:
    log.begin("a")
    await turns()
    log.begin("b")
    log.begin("c")
    await turns()
    log.tasks["b"].cancel()
    await log.end("a")
    await turns()
    assert log.did == ["a", "c"]
    await log.end("c")
    log.begin("d")
    await turns()
    assert log.did == ["a", "c", "d"]


async def test_one_who_fails_ends_its_part_of_the_round(log: Log) -> None:
    log.begin("a")
    await turns()
    log.tasks["a"].cancel()
    await turns()
    log.begin("b")
    await turns()
    assert log.did == ["a", "b"]
