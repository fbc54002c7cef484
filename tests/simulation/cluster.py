"""The brokers: one log in memory for all processes, and each process's way to write and to read it.

Same shapes and promises as `chassis.log.Log` and `chassis.tail.Tail`: an append that is not confirmed may land later.
"""

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from chassis.log import Ack, Incoming, LogUnavailable, Outgoing
from chassis.tail import Apply, FromTime, Place, Start
from schemas.topics import TOPICS
from tests.kit.router_inputs import START_MS
from tests.kit.router_log import MemoryLog
from tests.simulation.faults import Faults
from tests.simulation.process import Process

_COUNT_OF = {topic.name: topic.partitions for topic in TOPICS.values()}


class Cluster:
    """`act` is told of an append that brings on something else."""

    def __init__(self, faults: Faults, act: Callable[[], None]) -> None:
        self.faults = faults
        self._act = act
        self._partitions: dict[Place, MemoryLog] = defaultdict(MemoryLog)
        self._readers: dict[Place, dict[Callable[[Place], None], None]] = defaultdict(dict)

    def now_ms(self) -> int:
        return START_MS + round(asyncio.get_running_loop().time() * 1000)

    def records(self, topic: str, partition: int) -> list[Incoming]:
        return self._partitions[topic, partition].topics[topic]

    def all_records(self, topic: str) -> list[Incoming]:
        return [record for partition in range(_COUNT_OF[topic]) for record in self.records(topic, partition)]

    def land(self, record: Outgoing) -> Ack:
        """In the log for good, at the broker's time."""
        place = (record.topic, place_of(record))
        log = self._partitions[place]
        log.now_ms = self.now_ms()
        offset = log.append(
            Outgoing(record.topic, record.key, record.value, place[1], record.headers, record.valid_until_ms)
        )
        for read in list(self._readers[place]):
            read(place)
        if self.faults.happens("act"):
            self._act()
        return Ack(*place, offset, log.now_ms)

    def watch(self, place: Place, read: Callable[[Place], None]) -> None:
        self._readers[place][read] = None

    def unwatch(self, place: Place, read: Callable[[Place], None]) -> None:
        self._readers[place].pop(read, None)


def place_of(record: Outgoing) -> int:
    if record.partition is not None:
        return record.partition
    return crc32(record.key.encode()) % _COUNT_OF.get(record.topic, 1)


class SimulatedLog:
    """`chassis.log.Log` of one process."""

    def __init__(self, cluster: Cluster, process: Process, skew_ms: int) -> None:
        self._cluster = cluster
        self._process = process
        self._skew_ms = skew_ms  # a round trip at most, as the real estimate
        self._busy_until: dict[Place, float] = {}  # a producer keeps the order of a partition

    def broker_now_ms(self) -> int:
        return self._cluster.now_ms() + self._skew_ms

    async def append_together(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        return await self._append(records, within, together=True)

    async def append(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        return await self._append(records, within, together=False)

    async def _append(self, records: Sequence[Outgoing], within: float, *, together: bool) -> list[Ack]:
        if not records:
            return []
        await self._process.gate()
        faults = self._cluster.faults
        fate = faults.on_append()
        if fate == "die before":
            self._process.kill()
            await self._process.gate()
        loop = asyncio.get_running_loop()
        landed: list[asyncio.Future[Ack]] = []
        for record in records:
            landed.append(loop.create_future())
            own = fate if together or len(records) == 1 or faults.random.random() < 0.7 else "fine"
            self._send(record, landed[-1], own, within)
        if fate == "die after":
            await asyncio.wait(landed[:1])
            self._process.kill()
        try:
            async with asyncio.timeout(within):
                acks = list(await asyncio.gather(*landed))
                await asyncio.sleep(faults.random.uniform(0.0005, 0.005))
        except TimeoutError as error:
            await self._process.gate()
            raise LogUnavailable(f"no ack within {within:g} s") from error
        await self._process.gate()
        for record, ack in zip(records, acks, strict=True):
            if record.valid_until_ms is not None and ack.timestamp_ms > record.valid_until_ms:
                raise LogUnavailable(f"landed {ack.timestamp_ms - record.valid_until_ms} ms too late, so it is void")
        return acks

    def _send(self, record: Outgoing, landed: asyncio.Future[Ack], fate: str, within: float) -> None:
        loop, random = asyncio.get_running_loop(), self._cluster.faults.random
        if fate == "lost":
            return
        place = (record.topic, place_of(record))
        delay = random.uniform(0.001, 0.01)
        if fate == "late":  # nothing waits behind it: that would be a storm of repetitions, and nothing new
            at = loop.time() + within + random.choice([0.5, 5, 40, 600]) * random.random()
        else:
            at = self._busy_until[place] = max(loop.time() + delay, self._busy_until.get(place, 0.0))

        def land() -> None:
            ack = self._cluster.land(record)
            if not landed.done():
                landed.set_result(ack)

        loop.call_at(at, land, context=contextvars.Context())  # it happens at the brokers


@dataclass(slots=True)
class _Followed:
    apply: Apply
    next_offset: int
    waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)
    reading: bool = False


class SimulatedTail:
    """`chassis.tail.Tail` of one process: each record once, in order, some time after it has landed."""

    def __init__(self, cluster: Cluster, process: Process) -> None:
        self._cluster = cluster
        self._process = process
        self._followed: dict[Place, _Followed] = {}
        process.on_thaw.append(self._read_all)

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        for topic, partition in list(self._followed):
            await self.unfollow(topic, partition)

    async def follow(self, topic: str, partition: int, apply: Apply, start: Start = "earliest") -> None:
        await self._process.sleep(0.001)
        place = (topic, partition)
        if place in self._followed:
            raise ValueError(f"{topic}/{partition} is followed already")
        self._followed[place] = _Followed(apply, self._first(place, start))
        self._cluster.watch(place, self._landed)
        self._landed(place)

    async def unfollow(self, topic: str, partition: int) -> None:
        place = (topic, partition)
        self._cluster.unwatch(place, self._landed)
        followed = self._followed.pop(place, None)
        for _, future in followed.waiting if followed is not None else ():
            if not future.done():
                future.set_exception(LogUnavailable("no longer followed"))

    def position(self, topic: str, partition: int) -> int:
        return self._followed[topic, partition].next_offset

    async def applied(self, topic: str, partition: int, offset: int, *, within: float) -> None:
        await self._process.gate()
        followed = self._followed.get((topic, partition))
        if followed is None:
            raise LogUnavailable(f"{topic}/{partition} is not followed")
        if offset >= followed.next_offset:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            followed.waiting.append((offset, future))
            try:
                async with asyncio.timeout(within):
                    await future
            except TimeoutError as error:
                raise LogUnavailable(f"{topic}/{partition}/{offset} was not read back") from error
        await self._process.gate()

    async def caught_up(self, topic: str, partition: int, *, within: float) -> None:
        await self._process.sleep(0.001)
        await self.applied(topic, partition, len(self._cluster.records(topic, partition)) - 1, within=within)

    async def end_offsets(self, places: Sequence[Place]) -> Mapping[Place, int]:
        await self._process.sleep(0.001)
        return {place: len(self._cluster.records(*place)) for place in places}

    def seconds_since_poll(self) -> float:
        return max(map(self.behind, self._followed), default=0.0)

    def behind(self, place: Place) -> float:
        """Seconds since the first record that is not applied landed."""
        records, next_offset = self._cluster.records(*place), self._followed[place].next_offset
        if next_offset >= len(records):
            return 0.0
        return (self._cluster.now_ms() - records[next_offset].timestamp_ms) / 1000

    def _first(self, place: Place, start: Start) -> int:
        records = self._cluster.records(*place)
        match start:
            case "earliest":
                return 0
            case "latest":
                return len(records)
            case FromTime(ms):
                return next((record.offset for record in records if record.timestamp_ms >= ms), len(records))
            case int():
                return start

    def _landed(self, place: Place) -> None:
        followed = self._followed.get(place)
        if followed is not None and not followed.reading:
            followed.reading = True
            self._process.later(self._cluster.faults.lag(), self._read, place, followed)

    def _read(self, place: Place, followed: _Followed) -> None:
        followed.reading = False
        if self._process.dead or self._process.frozen_at is not None or self._followed.get(place) is not followed:
            return
        for record in self._cluster.records(*place)[followed.next_offset :]:
            followed.apply(record)
            followed.next_offset = record.offset + 1
        still = []
        for offset, future in followed.waiting:
            if offset >= followed.next_offset:
                still.append((offset, future))
            elif not future.done():
                future.set_result(None)
        followed.waiting = still

    def _read_all(self) -> None:
        for place in self._followed:
            self._landed(place)


class SimulatedTables:
    """`chassis.table.Tables`, with the most that its freshness allows: all that landed up to then is applied."""

    def __init__(self, tail: SimulatedTail, process: Process, topic: str) -> None:
        self._tail = tail
        self._process = process
        self._place = (topic, 0)

    def fresh_within(self, seconds: float) -> bool:
        return self._process.frozen_at is None and self._tail.behind(self._place) <= seconds

    async def wait_fresh(self, seconds: float, *, within: float) -> bool:
        end = self._process.monotonic() + within
        while not self.fresh_within(seconds) and self._process.monotonic() < end:
            await self._process.sleep(0.1)
        return self.fresh_within(seconds)
