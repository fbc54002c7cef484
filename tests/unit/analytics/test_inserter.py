"""Rows that are at hand together go in one insert, and nobody is told "done" before his are there (R30, D100, D101)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chassis.clock import SystemClock
from services.analytics.domain.attempts import AttemptRow
from services.analytics.domain.rows import Position
from services.analytics.handlers import Inserter
from services.analytics.ports import StoreUnavailable


def rows(partition: int, count: int = 2, *, at: int = 0) -> list[AttemptRow]:
    return [AttemptRow(Position("t", partition, n), "p", "e", at, f"{partition}-{n}", "{}") for n in range(count)]


@dataclass
class Store:
    """Takes a load when the test says so."""

    inserts: list[list[AttemptRow]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False

    async def write(self, found: Sequence[AttemptRow]) -> None:
        self.inserts.append(list(found))
        away = self.away
        await self.open.wait()
        if away:
            raise StoreUnavailable("away")


@pytest.fixture
def store() -> Store:
    return Store()


def inserter(store: Store, at_most: int = 1000) -> Inserter[AttemptRow]:
    return Inserter(store.write, SystemClock(), at_most=at_most)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_handlers_side_by_side_share_an_insert_and_wait_for_its_answer(store: Store) -> None:
    one = inserter(store)
    handlers = [asyncio.create_task(one.insert(rows(partition))) for partition in range(12)]
    await turns()
    assert [len(found) for found in store.inserts] == [24]
    assert not any(handler.done() for handler in handlers)
    store.open.set()
    await asyncio.gather(*handlers)


async def test_what_comes_while_an_insert_runs_goes_with_the_next(store: Store) -> None:
    one = inserter(store)
    first = asyncio.create_task(one.insert(rows(0)))
    await turns()
    later = [asyncio.create_task(one.insert(rows(partition))) for partition in (1, 2, 3)]
    await turns()
    assert len(store.inserts) == 1
    store.open.set()
    await asyncio.gather(first, *later)
    assert [len(found) for found in store.inserts] == [2, 6]


async def test_a_failure_is_everybodys_who_took_part_and_nobody_elses_D100(store: Store) -> None:
    one, store.away = inserter(store), True
    failing = [asyncio.create_task(one.insert(rows(partition))) for partition in (0, 1)]
    await turns()
    later = asyncio.create_task(one.insert(rows(2)))
    store.away = False
    store.open.set()
    assert [type(found) for found in await asyncio.gather(*failing, return_exceptions=True)] == [StoreUnavailable] * 2
    await later


async def test_where_the_carrier_is_cancelled_the_others_are_not_told_that_it_is_done(store: Store) -> None:
    one = inserter(store)
    carrier, other = (asyncio.create_task(one.insert(rows(partition))) for partition in (0, 1))
    await turns()
    carrier.cancel()
    with pytest.raises(StoreUnavailable):
        await other


async def test_an_insert_holds_no_more_than_it_may(store: Store) -> None:
    store.open.set()
    one = inserter(store, at_most=10)
    await asyncio.gather(*(one.insert(rows(partition, 4)) for partition in range(5)), one.insert(rows(9, 25)))
    assert [len(found) for found in store.inserts] == [8, 8, 4, 25]  # a batch is never torn apart
