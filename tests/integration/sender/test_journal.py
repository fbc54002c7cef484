"""The attempt-journal on a real log: who holds an attempt, what is forgotten, and what is read again (R23)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from chassis.clock import SystemClock
from chassis.log import Log, LogUnavailable, Outgoing
from chassis.tail import Tail
from schemas.deliveries import AttemptStarted, Delivery
from schemas.topics import TOPICS, Topic
from services.sender import metrics
from services.sender.adapters.journal import MARGIN_MS, AttemptJournal
from services.sender.domain import reports
from services.sender.domain.history import History
from services.sender.domain.outcome import Outcome
from tests.kit.broker import Broker
from tests.kit.senders import PROJECT, delivery, now_ms
from tests.kit.topics import kafka_settings, new_topic, renamed

DELIVERED = Outcome("delivered", "delivered", "reply", "250 Ok", 250)


@dataclass
class Reader:
    journal: AttemptJournal
    log: Log

    async def claim(self, item: Delivery, owner: str, *, valid_for_ms: int = 60_000) -> AttemptStarted:
        now = self.log.broker_now_ms()
        started = AttemptStarted(
            message_id=item.message_id,
            attempt=item.attempt,
            dispatch=item.dispatch,
            owner=owner,
            started_at_ms=now,
            deadline_ms=now + 60_000,
            valid_until_ms=now + valid_for_ms,
        )
        return await self.journal.claim(started, PROJECT)

    async def close(self, item: Delivery, owner: str) -> None:
        recorded = reports.recorded(item, owner, DELIVERED, reports.Hop(), started_at_ms=1, now_ms=2)
        await self.journal.record(recorded, PROJECT, read_back=True)

    async def give_back(self, item: Delivery, owner: str) -> None:
        await self.journal.record(reports.not_sent(item, owner), PROJECT, read_back=True)


@pytest.fixture
async def topic(broker: Broker) -> Topic:
    name = await new_topic(broker.bootstrap_servers)
    return renamed(TOPICS["attempt-journal"], name)


@asynccontextmanager
async def reader(broker: Broker, topic: Topic, **kept: int) -> AsyncIterator[Reader]:
    settings, clock = kafka_settings(broker.bootstrap_servers), SystemClock()
    log, tail = Log(settings, client_id="test-journal"), Tail(settings, client_id="test-journal")
    await log.start()
    await tail.start()
    try:
        yield Reader(AttemptJournal(log, tail, clock, topic, **kept), log)
    finally:
        await tail.stop()
        await log.stop()


@pytest.fixture
async def one(broker: Broker, topic: Topic) -> AsyncIterator[Reader]:
    async with reader(broker, topic) as found:
        await found.journal.follow(0, "express", now_ms())
        yield found


async def test_the_first_claim_in_the_log_holds(one: Reader, broker: Broker, topic: Topic) -> None:
    item = delivery()
    async with reader(broker, topic) as other:
        await other.journal.follow(0, "express", now_ms())
        mine = await one.claim(item, "a")
        assert mine.owner == "a"
        assert (await other.claim(item, "b")) == mine
        assert (await other.journal.history(item)).claim == mine
        await one.close(item, "a")
        await other.close(item, "b")  # not the holder: its word closes nothing
        history = await other.journal.history(item)
        assert history.outcome is not None
        assert (history.outcome.owner, history.outcome.outcome) == ("a", "delivered")


async def test_given_back_is_open_for_a_higher_dispatch(one: Reader) -> None:
    item = delivery()
    again = item.model_copy(update={"dispatch": 2})
    await one.claim(item, "a")
    await one.give_back(item, "a")
    history = await one.journal.history(item)
    assert (history.claim, history.outcome) == (None, None)
    assert history.not_sent is not None
    assert one.journal.given_back(item)
    assert not one.journal.given_back(again)
    assert (await one.claim(again, "b")).owner == "b"
    await one.give_back(item, "a")  # said again: it gives nothing back that is another's
    claim = (await one.journal.history(again)).claim
    assert claim is not None
    assert claim.owner == "b"


async def test_a_claim_that_lands_too_late_holds_nothing(one: Reader) -> None:
    item = delivery()
    await one.claim(delivery(), "a")  # the broker's clock is known from here on
    with pytest.raises(LogUnavailable):
        await one.claim(item, "a", valid_for_ms=-5)
    assert await one.journal.history(item) == History()


async def test_a_later_owner_reads_what_was_before_it(one: Reader, broker: Broker, topic: Topic) -> None:
    item = delivery()
    await one.claim(item, "a")
    async with reader(broker, topic) as heir:
        await heir.journal.follow(0, "standard", item.first_dispatched_at_ms)
        claim = (await heir.journal.history(item)).claim
        assert claim is not None
        assert claim.owner == "a"


def rereads() -> float:
    found: float = metrics.JOURNAL_REREADS._value.get()
    return found


async def test_an_older_delivery_makes_it_read_from_further_back(one: Reader) -> None:
    """Two lanes share a journal partition; and a watchdog's dispatch is older than its offset tells."""
    before = rereads()
    older = delivery().model_copy(update={"first_dispatched_at_ms": now_ms() - 10 * MARGIN_MS})
    await one.journal.follow(0, "standard", now_ms())
    assert rereads() == before
    assert await one.journal.history(older) == History()
    assert rereads() == before + 1
    assert await one.journal.history(older) == History()
    assert rereads() == before + 1


async def test_two_who_look_for_the_same_delivery_read_once_and_neither_fails(one: Reader) -> None:
    """The router said it again after a crash, and both came together. Found by the simulation."""
    older = delivery().model_copy(update={"first_dispatched_at_ms": now_ms() - 10 * MARGIN_MS})
    await one.journal.follow(0, "standard", now_ms())
    before = rereads()
    assert await asyncio.gather(*(one.journal.history(older) for _ in range(3))) == [History()] * 3
    assert rereads() == before + 1


async def test_what_is_forgotten_is_read_again_when_asked_for(broker: Broker, topic: Topic) -> None:
    """A settled attempt is never called open, however little is kept of it."""
    async with reader(broker, topic, kept_closed=2) as small:
        await small.journal.follow(0, "express", now_ms())
        items = [delivery() for _ in range(6)]
        given_back = delivery()
        await small.claim(given_back, "a")
        await small.give_back(given_back, "a")
        for item in items:
            await small.claim(item, "a")
            await small.close(item, "a")
        assert small.journal.given_back(given_back), "who waited for its turn meanwhile must not send"
        assert not small.journal.given_back(delivery())
        before = rereads()
        for item in items[-2:]:
            assert (await small.journal.history(item)).outcome is not None
        assert (await small.journal.history(delivery())) == History()
        assert rereads() == before
        found = await asyncio.gather(*(small.journal.history(item) for item in items))
        assert all(history.outcome is not None for history in found)
        assert rereads() == before + 1, "once for all who ask"
        assert (await small.journal.history(given_back)).not_sent is not None


async def test_even_the_memory_of_forgetting_may_go(broker: Broker, topic: Topic) -> None:
    async with reader(broker, topic, kept_closed=1, kept_forgotten=2) as small:
        await small.journal.follow(0, "express", now_ms())
        items = [delivery() for _ in range(8)]
        for item in items:
            await small.claim(item, "a")
            await small.close(item, "a")
        # Whatever is left in memory, an attempt that was claimed is never found unclaimed.
        for item in items:
            assert (await small.journal.history(item)) != History()


async def test_a_released_partition_is_no_longer_known(one: Reader) -> None:
    await one.journal.follow(0, "standard", now_ms())
    one.journal.release(0, "express")
    await one.journal.history(delivery())
    one.journal.release(0, "standard")
    with pytest.raises(LogUnavailable):
        await one.journal.history(delivery())
    await one.journal.follow(0, "express", now_ms())
    assert await one.journal.history(delivery()) == History()


@pytest.mark.parametrize(
    "value", [b"junk", None, b"{}", b'{"type": "journal.recorded", "data": {"owner": "a"}}', b"[]"]
)
async def test_junk_in_the_journal_is_passed_over(one: Reader, topic: Topic, value: bytes | None) -> None:
    """D26."""
    await one.log.append([Outgoing(topic.name, "k", value, 0)], within=5)
    item = delivery()
    assert (await one.claim(item, "a")).owner == "a"
