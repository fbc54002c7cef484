"""How a replay is carried out: a stretch at a time, with few of its deliveries pending, and on from where it stands (R31)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from chassis.log import Incoming, LogUnavailable, Outgoing
from schemas.envelope import Envelope, by_type, decode, encode, to_timestamp
from schemas.topics import TOPICS, Topic
from schemas.webhooks import ReplayState, WebhookAttempt
from services.webhooks.domain import replay as domain_replay
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.records import attempt_record
from services.webhooks.domain.replay import Replay
from services.webhooks.replays import Replays
from tests.unit.webhooks.made import NOW_MS, a_delivery, a_replay, an_endpoint, an_event
from tests.unit.webhooks.test_fan_out import Endpoints
from tests.unit.webhooks.test_health import a_call

EVENTS, ATTEMPTS, REPLAYS = TOPICS["message-events"], TOPICS["webhook-attempts"], TOPICS["webhook-replays"]
POISON = [b"{", b'"prj_1"']


def an_hour_of(count: int) -> list[bytes]:
    """Events in the window of `a_replay`, with poison among them."""
    return POISON + [encode(an_event(number, time_ms=NOW_MS - 1)) for number in range(count)]


@dataclass(slots=True)
class World:
    """A partition of events, the partition that the replay stands in, and a clock that only tells how long it rested."""

    events: list[bytes]
    failures: int = 0  # of the appends to come
    standing: dict[str, Replay] = field(default_factory=dict)
    pending: int = 0
    most_pending: int = 0
    log: list[Outgoing] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    rested: list[float] = field(default_factory=list)
    now: float = 0.0
    attempts: list[bytes] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    endpoints: Endpoints = field(default_factory=lambda: Endpoints(an_endpoint()))

    async def carry_out(self, replay: Replay) -> None:
        self.standing[replay.id] = replay
        replays = Replays(self.endpoints, self, self, self, None)
        replays.begin(replay, self)
        replays.begin(replay, self)  # the tail brings what is known already
        async with asyncio.timeout(20):
            await self.closed.wait()
        await replays.stop()

    def delivered(self) -> list[str]:
        """Keys of the deliveries made, in order."""
        return [record.key for record in self.log if record.key.startswith("whd_")]

    def states(self) -> list[ReplayState]:
        """What who asked for it could read of it, one after the other."""
        said = [record.value for record in self.log if record.topic == REPLAYS.name and record.value is not None]
        return [decode(value, by_type(ReplayState)).data for value in said]

    # History

    async def between(self, topic: Topic, since_ms: int, until_ms: int) -> Mapping[int, tuple[int, int]]:
        return {0: (0, len(self._said(topic.name)))}

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Sequence[Incoming], int]:
        self.reads.append(offset)
        self.now += 0.25
        found = self._said(topic)[offset : offset + limit]
        return [Incoming(topic, 0, offset + n, NOW_MS, "", value, ()) for n, value in enumerate(found)], offset + len(
            found
        )

    def _said(self, topic: str) -> list[bytes]:
        return {EVENTS.name: self.events, ATTEMPTS.name: self.attempts}.get(topic, [])

    # Results

    async def append(self, partition: int, records: Sequence[Outgoing]) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("no lease")
        self.log += records
        self.pending += sum(record.key.startswith("whd_") for record in records)
        self.most_pending = max(self.most_pending, self.pending)

    async def may_start(self, partition: int) -> bool:
        raise AssertionError("a replay sends nothing")

    async def settle(
        self, delivery: Delivery, attempt: Envelope[WebhookAttempt] | None, following: Delivery | None
    ) -> bool:
        raise AssertionError("a replay sends nothing")

    # Keeper

    def replay(self, replay_id: str) -> Replay | None:
        return self.standing.get(replay_id)

    def waiting(self, replay_id: str) -> int:
        return self.pending

    def settled(self, entry_id: str, following: Replay | None) -> None:
        if following is None:
            del self.standing[entry_id]
            self.closed.set()
        else:
            self.standing[entry_id] = following

    # Clock

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.rested.append(seconds)
        if seconds == 0.2:  # it waits for its deliveries: some arrive
            self.pending -= 100
        await asyncio.sleep(0)


async def test_everything_is_made_once_and_only_so_much_is_pending_at_a_time() -> None:
    world = World(an_hour_of(1500))
    await world.carry_out(a_replay())
    assert len(world.delivered()) == len(set(world.delivered())) == 1500
    assert world.most_pending < 1000
    assert world.log[-1].value is None  # the replay is closed
    assert {record.partition for record in world.log if record.topic != REPLAYS.name} == {0}


async def test_who_asked_for_it_reads_how_far_it_has_come_and_that_it_is_done() -> None:
    world = World(an_hour_of(1200))
    await world.carry_out(a_replay())
    states = [(state.status, state.matched, state.queued, state.finished_at) for state in world.states()]
    under_way = [("running", count, count, None) for count in (0, 498, 998, 1200)]  # two of the first 500 are poison
    assert states == [*under_way, ("done", 1200, 1200, to_timestamp(NOW_MS))]
    assert world.states()[0].created_at == to_timestamp(NOW_MS)


def failed(*numbers: int) -> list[bytes]:
    deliveries = [replace(a_delivery(number), event_id=an_event(number).id) for number in numbers]
    return [encode(attempt_record(delivery, a_call(500), delivery.again(NOW_MS))) for delivery in deliveries]


async def test_of_what_was_asked_for_only_what_has_failed_is_queued() -> None:
    world = World(an_hour_of(5), attempts=failed(1, 3, 3))
    await world.carry_out(a_replay(only_failed=True))
    assert len(world.delivered()) == 2
    last = world.states()[-1]
    assert (last.status, last.matched, last.queued, last.reason) == ("done", 5, 2, None)


async def test_more_failures_than_can_be_remembered_are_a_failed_replay_and_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domain_replay, "MOST_FAILED", 2)
    world = World(an_hour_of(5), attempts=failed(1, 2, 3, 4))
    await world.carry_out(a_replay(only_failed=True))
    (last,) = world.states()
    assert (last.status, last.reason, last.queued, world.delivered()) == ("failed", "too_many_failed", 0, [])
    assert last.finished_at is not None


async def test_what_it_takes_of_the_processs_time_it_leaves_to_others() -> None:
    world = World(an_hour_of(1500))
    await world.carry_out(a_replay())
    assert sum(rest for rest in world.rested if rest != 0.2) >= 0.25 * len(world.reads)


async def test_progress_is_written_behind_what_it_made_and_another_owner_goes_on_from_there() -> None:
    world = World(an_hour_of(1200))
    begun = a_replay().with_left({"message-events/0": (1000, 1202)})
    await world.carry_out(begun)
    assert (world.reads, len(world.delivered())) == ([1000], 202)
    progress = [(record.topic, record.value is None) for record in world.log if record.key == "rpl_1"]
    deliveries = TOPICS["webhook-deliveries"].name
    assert progress == [(deliveries, False), (REPLAYS.name, False), (REPLAYS.name, False), (deliveries, True)]


async def test_without_the_right_to_write_it_tries_the_same_stretch_again() -> None:
    world = World(an_hour_of(10), failures=3)
    await world.carry_out(a_replay())
    assert len(world.delivered()) == 10


async def test_a_single_event_ends_the_search() -> None:
    world = World(an_hour_of(1500))
    await world.carry_out(a_replay(event_id=an_event(20, time_ms=NOW_MS - 1).id))
    assert (len(world.delivered()), world.reads) == (1, [0])


DISABLED = an_endpoint().model_copy(update={"disabled_at": "2026-09-21T14:13:20.123Z"})


async def test_for_an_endpoint_that_is_gone_it_ends_at_once_and_nothing_is_left_of_it() -> None:
    world = World(an_hour_of(10), endpoints=Endpoints())
    await world.carry_out(a_replay())
    assert (world.reads, [record.value for record in world.log]) == ([], [None, None])


async def test_for_an_endpoint_that_is_disabled_it_fails_at_once() -> None:
    world = World(an_hour_of(10), endpoints=Endpoints(DISABLED))
    await world.carry_out(a_replay())
    (last,) = world.states()
    assert (world.reads, last.status, last.reason) == ([], "failed", "endpoint_disabled")
