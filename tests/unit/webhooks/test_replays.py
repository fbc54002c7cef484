"""How a replay is carried out: a stretch at a time, with few of its deliveries pending, and on from where it stands (R31)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from chassis.log import Incoming, LogUnavailable, Outgoing
from schemas.envelope import Envelope, encode
from schemas.topics import TOPICS, Topic
from schemas.webhooks import WebhookAttempt
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.replay import Replay
from services.webhooks.replays import Replays
from tests.unit.webhooks.made import NOW_MS, a_replay, an_endpoint, an_event
from tests.unit.webhooks.test_fan_out import Endpoints

EVENTS = TOPICS["message-events"]
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

    # History

    async def between(self, topic: Topic, since_ms: int, until_ms: int) -> Mapping[int, tuple[int, int]]:
        return {0: (0, len(self.events) if topic == EVENTS else 0)}

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Sequence[Incoming], int]:
        self.reads.append(offset)
        self.now += 0.25
        found = self.events[offset : offset + limit]
        return [Incoming(topic, 0, offset + n, NOW_MS, "", value, ()) for n, value in enumerate(found)], offset + len(
            found
        )

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
    assert {record.partition for record in world.log} == {0}


async def test_what_it_takes_of_the_processs_time_it_leaves_to_others() -> None:
    world = World(an_hour_of(1500))
    await world.carry_out(a_replay())
    assert sum(rest for rest in world.rested if rest != 0.2) >= 0.25 * len(world.reads)


async def test_progress_is_written_behind_what_it_made_and_another_owner_goes_on_from_there() -> None:
    world = World(an_hour_of(1200))
    begun = a_replay().with_left({"message-events/0": (1000, 1202)})
    await world.carry_out(begun)
    assert (world.reads, len(world.delivered())) == ([1000], 202)
    assert [record.key for record in world.log[-2:]] == ["rpl_1", "rpl_1"]


async def test_without_the_right_to_write_it_tries_the_same_stretch_again() -> None:
    world = World(an_hour_of(10), failures=3)
    await world.carry_out(a_replay())
    assert len(world.delivered()) == 10


async def test_a_single_event_ends_the_search() -> None:
    world = World(an_hour_of(1500))
    await world.carry_out(a_replay(event_id=an_event(20, time_ms=NOW_MS - 1).id))
    assert (len(world.delivered()), world.reads) == (1, [0])


DISABLED = an_endpoint().model_copy(update={"disabled_at": "2026-09-21T14:13:20.123Z"})


@pytest.mark.parametrize("endpoints", [Endpoints(), Endpoints(DISABLED)], ids=["gone", "disabled"])
async def test_for_an_endpoint_that_is_gone_or_disabled_it_ends_at_once(endpoints: Endpoints) -> None:
    world = World(an_hour_of(10), endpoints=endpoints)
    await world.carry_out(a_replay())
    assert (world.reads, [record.value for record in world.log]) == ([], [None])
