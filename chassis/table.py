"""Compacted topics as mappings, for every process that must know an entity, with a proof of freshness.

`fresh_within(s)` is the lease behind "once it is answered, nothing starts any more" (R11, R13): readers start nothing
unless it holds, writers answer their client only a little more than `LEASE` after their ack. Never judge freshness by
what was received last: a buffered old answer looks fresh after a stop (reference: measured unsafe).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from prometheus_client import Counter

from chassis.clock import Clock
from chassis.deadline import Within
from chassis.log import Incoming, Log, LogUnavailable, Outgoing, outgoing, tombstone
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.tail import Place, Tail
from chassis.telemetry import logger
from schemas.envelope import Envelope, MalformedRecord, Payload, by_type, decode
from schemas.topics import Topic

LEASE = 0.2  # seconds: readers must be this fresh
ANSWER_AFTER = 0.3  # seconds between a writer's ack and its answer: the lease and a margin

_PROBE_EVERY = 0.1  # seconds: half the lease, so that one slow probe does not end it
_IDLE_EVERY = 0.5  # … where nobody has asked for a lease lately: who asks then has the next probe at once
_LATELY = 1.0
_APPLIED_WITHIN = 10.0  # seconds until a probe gives up waiting for the tail and asks anew

P = TypeVar("P", bound=Payload)
OnChange = Callable[[str, P | None, P | None], None]  # key, before, after

_log = logger("table")
_unreadable = Counter(
    "chassis_table_unreadable_records_total", "Records of compacted topics that do not decode: passed over.", ["topic"]
)


class Table(Mapping[str, P], Generic[P]):
    """One compacted topic as a read-only mapping of key to payload; changes only through `put` and `remove`."""

    topic: Topic

    def __init__(self, topic: Topic, payload: type[P], log: Log, tail: Tail, clock: Clock, *more: type[P]) -> None:
        self.topic = topic
        self._types = by_type(payload, *more)
        self._log = log
        self._tail = tail
        self._clock = clock
        self._entries: dict[str, P] = {}
        self._notified: list[OnChange[P]] = []

    def __getitem__(self, key: str) -> P:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def on_change(self, notify: OnChange[P]) -> None:
        """Call `notify` for each later change, and at once for every entry that is there already. Keep it short."""
        self._notified.append(notify)
        for key, entry in self._entries.items():
            notify(key, None, entry)

    async def put(self, key: str, envelope: Envelope[P], *, within: float = 2.5) -> None:
        """Append; returns when this process has applied it. Raises LogUnavailable."""
        await self._change(outgoing(self.topic, envelope, key=key), within)

    async def remove(self, key: str, *, within: float = 2.5) -> None:
        """Append a tombstone; returns when this process has applied it. Raises LogUnavailable."""
        await self._change(tombstone(self.topic, key), within)

    async def _change(self, record: Outgoing, within: float) -> None:
        deadline = self._clock.monotonic() + within
        (ack,) = await self._log.append([record], within=within)
        left = max(0.0, deadline - self._clock.monotonic())
        await self._tail.applied(ack.topic, ack.partition, ack.offset, within=left)

    def apply(self, record: Incoming) -> None:
        """Fold one record (called by the tail)."""
        before = self._entries.get(record.key)
        if record.value is None:
            after = None
            self._entries.pop(record.key, None)
        else:
            try:
                after = self._entries[record.key] = decode(record.value, self._types).data
            except MalformedRecord as error:
                where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                _log.error("table_record_unreadable", **where, reason=str(error))
                _unreadable.labels(record.topic).inc()
                return
        if before != after:
            for notify in self._notified:
                notify(record.key, before, after)


class Tables:
    """All tables of a process: one tail, one probe. Records that can not be read are logged, counted and passed over."""

    def __init__(
        self, kafka: KafkaSettings, log: Log, clock: Clock, *, client_id: str, crash: Crash | None = None
    ) -> None:
        self._log = log
        self._clock = clock
        self._tail = Tail(kafka, client_id=client_id, crash=crash, clock=clock)
        self._tables: list[Table[Any]] = []
        self._fresh_at = float("-inf")  # monotonic: what was acked before then is applied
        self._probed = asyncio.Event()  # set, and made anew, with each probe that ends
        self._wanted = asyncio.Event()  # somebody waits for a proof
        self._asked_at = float("-inf")  # monotonic: when somebody last asked for more than idle probes prove
        self._probing: asyncio.Task[None] | None = None

    def table(self, topic: Topic, payload: type[P], *more: type[P]) -> Table[P]:
        """Declare a table; before `start`."""
        table = Table(topic, payload, self._log, self._tail, self._clock, *more)
        self._tables.append(table)
        return table

    async def start(self) -> None:
        """Read every table to the end it had at the call; waits for the brokers as long as it takes."""
        await self._tail.start()
        follow = [
            self._tail.follow(table.topic.name, partition, table.apply)
            for table in self._tables
            for partition in range(table.topic.partitions)
        ]
        await asyncio.gather(*follow)
        self._probing = asyncio.create_task(self._probe_for_ever(), name="table-probe")
        await self._probed.wait()

    async def stop(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})
        await self._tail.stop()

    def fresh_within(self, seconds: float) -> bool:
        """Whether every record acked up to `seconds` ago, in any of these tables, is applied here."""
        now = self._clock.monotonic()
        fresh = now - self._fresh_at <= seconds
        if seconds <= _IDLE_EVERY:
            self._asked_at = now
        if not fresh:
            self._wanted.set()
        return fresh

    async def wait_fresh(self, seconds: float, *, within: float) -> bool:
        """Wait for `fresh_within(seconds)`; False when it did not come within `within` seconds."""
        try:
            with Within(within):
                while not self.fresh_within(seconds):
                    await self._probed.wait()
        except TimeoutError:
            return self.fresh_within(seconds)
        return True

    async def _probe_for_ever(self) -> None:
        places = [(table.topic.name, p) for table in self._tables for p in range(table.topic.partitions)]
        while True:
            begun = self._clock.monotonic()
            try:
                await self._probe(places)
            except LogUnavailable as error:
                _log.warning("tables_lag", reason=str(error))
            else:
                self._fresh_at = begun
                probed, self._probed = self._probed, asyncio.Event()
                probed.set()
            await self._pause(begun)

    async def _pause(self, begun: float) -> None:
        """Until the next probe is due, or wanted."""
        await self._clock.sleep(max(0.0, begun + _PROBE_EVERY - self._clock.monotonic()))
        if self._clock.monotonic() - self._asked_at > _LATELY:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, begun + _IDLE_EVERY - self._clock.monotonic())):
                    await self._wanted.wait()
        self._wanted.clear()

    async def _probe(self, places: list[Place]) -> None:
        """Returns when all that was acked before the call is applied: the ends are asked for after it has begun."""
        for (topic, partition), end in (await self._tail.end_offsets(places)).items():
            await self._tail.applied(topic, partition, end - 1, within=_APPLIED_WITHIN)
