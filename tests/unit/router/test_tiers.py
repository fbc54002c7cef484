"""One destination, 10,000 mails in four tiers: who goes out before whom, judged by what stands in the log alone (R10).

Real partitions on real files. A sender that is slower than the arrivals ends attempts in any order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import orjson
import pytest

from chassis.log import Incoming
from schemas.mail import LANE_OF, Lane, Priority
from services.router.domain.admission import TIER
from tests.kit import router_inputs as make
from tests.kit.router_log import RouterOnLog

MAILS = 10_000
PARTITIONS = 3  # of each lane
WINDOW = 100
KEPT_FOR_CRITICAL, KEPT_FOR_BULK = WINDOW // 4, WINDOW // 10
PER_ROUND = 240  # arrivals over all partitions; the sender ends fewer until they are over
PRIORITIES = tuple(TIER)
LANES: tuple[Lane, Lane] = ("express", "standard")


@dataclass(slots=True)
class Partition:
    """One of the partitions, with the sender that carries its mail."""

    router: RouterOnLog
    knew: dict[int, int] = field(default_factory=dict)  # offset of a call: how far the router had read when it called
    flying: list[str] = field(default_factory=list)
    submitted: int = 0
    _seen: int = 0  # deliveries

    @property
    def inputs(self) -> Sequence[Incoming]:
        return self.router.log.topics[self.router.inputs]

    @property
    def deliveries(self) -> Sequence[Incoming]:
        return self.router.log.topics[self.router.deliveries]

    @property
    def is_over(self) -> bool:
        return not self.flying and self._seen == len(self.deliveries) == self.submitted

    def submit(self, priority: Priority) -> None:
        self.submitted += 1
        self.router.give(make.submit(make.message_id(self.router.lane), priority=priority))

    async def tick(self) -> None:
        first = len(self.inputs)
        await self.router.tick()
        self.knew.update(dict.fromkeys(range(first, len(self.inputs)), self.router.committed))

    def end_some(self, random: Random) -> None:
        self.flying += [record.key for record in self.deliveries[self._seen :]]
        self._seen = len(self.deliveries)
        random.shuffle(self.flying)
        for _ in range(min(len(self.flying), random.randrange(40))):
            self.router.give(make.delivered(self.flying.pop()))


@dataclass(frozen=True, slots=True)
class Trip:
    """One mail's way, in offsets of its partition's inputs."""

    tier: int
    submitted: int
    known: int  # how far the router had read when it gave this one its place
    handed_out: int  # by this input
    ended: int

    @property
    def waited(self) -> bool:
        return self.handed_out != self.submitted


async def test_ten_thousand_in_four_tiers(tmp_path: Path) -> None:
    partitions = [
        Partition(RouterOnLog(tmp_path / f"{lane}-{number}", lane=lane, window=WINDOW))
        for lane in LANES
        for number in range(PARTITIONS)
    ]
    random = Random(10)
    for left in range(MAILS, 0, -PER_ROUND):
        arrive(partitions, random, min(left, PER_ROUND))
        await one_round(partitions, random)
    await until_over(partitions, random)
    trips = [trips_of(partition) for partition in partitions]
    assert sum(map(len, trips)) == MAILS
    for of_one in trips:
        assert list(out_of_turn(of_one)) == []
        assert list(passed(of_one)) == []
        assert list(over_the_window(of_one)) == []
    for tier in range(4):
        assert sum(trip.waited for of_one in trips for trip in of_one if trip.tier == tier) > 1_000
    assert any(True for of_one in trips for _ in overtakings(of_one)), "bulk never had its share"


def arrive(partitions: Sequence[Partition], random: Random, count: int) -> None:
    for _ in range(count):
        priority: Priority = random.choice(PRIORITIES)
        lane = LANE_OF[priority]
        partition = random.choice([p for p in partitions if p.router.lane == lane])
        partition.submit(priority)


async def one_round(partitions: Sequence[Partition], random: Random) -> None:
    """Arrivals, outcomes and calls land in any order: a call may stand behind arrivals that it did not know of."""
    for partition in partitions:
        partition.router.log.now_ms += 7
        for step in [*random.choices("bte", k=3), "e", "t", "b"]:
            match step:
                case "b":
                    await partition.router.batch()
                case "t":
                    await partition.tick()
                case _:
                    partition.end_some(random)


def lose(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


async def until_over(partitions: Sequence[Partition], random: Random) -> None:
    while open_ones := [partition for partition in partitions if not partition.is_over]:
        await one_round(open_ones, random)


# the verdict


def trips_of(partition: Partition) -> list[Trip]:
    """In the order in which they were handed out."""
    submitted: dict[str, int] = {}
    called: dict[str, int] = {}
    ended: dict[str, int] = {}
    tiers: dict[str, int] = {}
    for record in partition.inputs:
        envelope = orjson.loads(record.value or b"")
        match envelope["type"]:
            case "input.submit":
                submitted[record.key] = record.offset
                tiers[record.key] = TIER[envelope["data"]["priority"]]
            case "input.due":
                assert called.setdefault(record.key, record.offset) == record.offset, "called twice"
            case _:
                ended[record.key] = record.offset
    handed_out = [record.key for record in partition.deliveries]
    assert sorted(handed_out) == sorted(submitted), "each one goes out once"
    return [
        Trip(
            tiers[one],
            submitted[one],
            partition.knew[called[one]] if one in called else submitted[one],
            called.get(one, submitted[one]),
            ended[one],
        )
        for one in handed_out
    ]


def out_of_turn(trips: Iterable[Trip]) -> Iterator[Trip]:
    """FIFO within (partition, destination, tier)."""
    last = [-1] * 4
    for trip in trips:
        if trip.submitted < last[trip.tier]:
            yield trip
        last[trip.tier] = max(last[trip.tier], trip.submitted)


def passed(trips: Sequence[Trip]) -> Iterator[tuple[Trip, Trip]]:
    """Who went before a better one that waited, though not by the share that is kept for bulk."""
    for trip, better, number in overtakings(trips):
        normals = [other for other in trips[:number] if other.tier == TIER["normal"] and other.ended >= trip.known]
        if trip.tier != TIER["bulk"] or len(normals) < WINDOW - KEPT_FOR_BULK:
            yield trip, better


def overtakings(trips: Sequence[Trip]) -> Iterator[tuple[Trip, Trip, int]]:
    """Each hand-out that leaves one of a better tier waiting, of whom the router knew: both, and its place in the order."""
    queues = [[trip for trip in trips if trip.tier == tier] for tier in range(4)]
    gone = [0] * 4
    for number, trip in enumerate(trips):
        gone[trip.tier] += 1
        for tier in range(trip.tier):
            first = queues[tier][gone[tier]] if gone[tier] < len(queues[tier]) else None
            if first is not None and first.submitted < trip.known:
                yield trip, first, number


def over_the_window(trips: Iterable[Trip]) -> Iterator[int]:
    """Offsets at which more were in flight than may be, of all or of the tier that leaves places to critical."""
    moves = [(trip.handed_out, trip.tier, +1) for trip in trips] + [(trip.ended, trip.tier, -1) for trip in trips]
    flying = [0] * 4
    for offset, tier, by in sorted(moves):
        flying[tier] += by
        if sum(flying) > WINDOW or flying[TIER["high"]] > WINDOW - KEPT_FOR_CRITICAL:
            yield offset


def test_the_verdict_can_be_bad() -> None:
    first, second = Trip(1, 0, 0, 0, 9), Trip(1, 1, 1, 1, 9)
    better = Trip(0, 0, 2, 5, 9)
    assert list(out_of_turn([second, first])) == [first]
    assert list(passed([Trip(1, 1, 1, 3, 9), better])) != []
    assert list(passed([Trip(3, 4, 4, 4, 9), Trip(2, 1, 6, 7, 9)])) != []
    assert list(over_the_window([Trip(1, n, n, n, 999) for n in range(76)])) == [75]


@pytest.mark.parametrize("lane", LANES)
async def test_a_queue_is_served_in_order_after_a_restart(tmp_path: Path, lane: Lane) -> None:
    """From the file, and from the changelog alone: the order is in the records, not in a process."""
    partition = Partition(RouterOnLog(tmp_path, lane=lane, window=10))
    mine = [priority for priority in PRIORITIES if LANE_OF[priority] == lane]
    random = Random(11)
    for _ in range(300):
        partition.submit(random.choice(mine))
    await one_round([partition], random)
    for file_is_lost in (False, True):
        partition.router.kill()
        if file_is_lost:
            lose(tmp_path)
        partition.router.start()
        for _ in range(8):
            await one_round([partition], random)
    await until_over([partition], random)
    assert list(out_of_turn(trips_of(partition))) == []
