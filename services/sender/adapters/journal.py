"""The attempt-journal: claims and outcomes of attempts, folded by `chassis.claims`, in memory (R23).

Each deliveries partition p, of either lane, needs journal partition p from the first dispatch of its oldest open
delivery on; what is settled is forgotten after a while. It must never say "nobody has begun" of what it has forgotten,
or has not read: then it reads again, from further back.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

import orjson

from chassis.claims import ClaimOf, Claims, CloseOf, ReleaseOf
from chassis.clock import Clock
from chassis.ids import derived_id, parse_message_id
from chassis.log import Incoming, Log, LogUnavailable, Outgoing, outgoing
from chassis.tail import FromTime, Tail
from chassis.telemetry import logger
from schemas.deliveries import AttemptRecorded, AttemptStarted, Delivery, JournalEntry
from schemas.envelope import MalformedRecord, by_type, decode, seal
from schemas.topics import TOPICS, Topic
from services.sender import metrics
from services.sender.domain.history import History

_log = logger("journal")

APPEND_WITHIN = 5.0  # seconds for an append, or an append and its read-back
# How far before a delivery's first dispatch its journal is looked for: clocks of two brokers, and a router's estimate.
MARGIN_MS = 30_000
KEPT_CLOSED = 50_000  # settled attempts that are still in memory: about 100 MB
KEPT_FORGOTTEN = 1_000_000  # hashes of forgotten ones: about 70 MB


@dataclass(slots=True)
class _Followed:
    """What is in memory of one journal partition."""

    holders: set[str] = field(default_factory=set)  # deliveries topics that need it
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while it is being read (again)
    since_ms: int | None = None  # everything later is, or was, in memory; None: not followed
    closed: deque[str] = field(default_factory=deque)  # keys in the order they were settled
    forgotten: set[int] = field(default_factory=set)
    wanted: dict[str, list[int]] = field(
        default_factory=dict
    )  # keys that are looked for, and since when (ms), each time


class AttemptJournal:
    """See `services.sender.ports.Journal`."""

    def __init__(
        self,
        log: Log,
        tail: Tail,
        clock: Clock,
        topic: Topic = TOPICS["attempt-journal"],
        *,
        kept_closed: int = KEPT_CLOSED,
        kept_forgotten: int = KEPT_FORGOTTEN,
    ) -> None:
        self._log = log
        self._topic = topic
        self._kept_closed = kept_closed
        self._kept_forgotten = kept_forgotten
        self._tail = tail
        self._not_sent: dict[str, AttemptRecorded] = {}  # the one with the highest dispatch, by key
        self._partitions: dict[int, _Followed] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        window = topic.retention
        assert window is not None
        # A claim holds its attempt for as long as the topic remembers it.
        self._claims = Claims(log, tail, clock, topic=topic.name, read=self._read, window=window, path=None)

    # --- partitions ---

    async def follow(self, partition: int, holder: str, since_ms: int) -> None:
        """Have everything later than `since_ms` (broker time) in memory, for `holder`. Returns when it is read."""
        followed = self._partitions.setdefault(partition, _Followed())
        followed.holders.add(holder)
        await self._cover(partition, followed, since_ms)

    def release(self, partition: int, holder: str) -> None:
        """`holder` no longer needs it."""
        followed = self._partitions.get(partition)
        if followed is not None:
            followed.holders.discard(holder)
            if not followed.holders:
                task = asyncio.create_task(self._unfollow(partition, followed), name=f"journal-unfollow-{partition}")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def _unfollow(self, partition: int, followed: _Followed) -> None:
        async with followed.lock:
            if not followed.holders and followed.since_ms is not None:
                await self._clear(partition, followed)

    async def _cover(self, partition: int, followed: _Followed, since_ms: int) -> None:
        async with followed.lock:
            if followed.since_ms is not None and followed.since_ms <= since_ms:
                return
            await self._read_from(partition, followed, since_ms - MARGIN_MS)

    async def _read_from(self, partition: int, followed: _Followed, since_ms: int) -> None:
        if followed.since_ms is not None:
            metrics.JOURNAL_REREADS.inc()
            _log.info("journal_reread", partition=partition)
            await self._clear(partition, followed)
        followed.since_ms = since_ms  # before it is read: what is forgotten on the way raises it
        try:
            await self._claims.follow(partition, FromTime(since_ms))
            await self._claims.caught_up(partition)
        except BaseException:
            followed.since_ms = None
            await self._claims.unfollow(partition)
            raise

    async def _clear(self, partition: int, followed: _Followed) -> None:
        followed.since_ms = None
        await self._claims.unfollow(partition)
        for key in followed.closed:
            self._not_sent.pop(key, None)
        followed.closed.clear()
        followed.forgotten.clear()

    # --- reading ---

    async def history(self, delivery: Delivery) -> History:
        key, partition = _key(delivery), partition_of(delivery.message_id)
        followed = self._partitions.get(partition)
        if followed is None or not followed.holders:
            raise LogUnavailable(f"journal partition {partition} is not followed")
        if followed.lock.locked() or self._uncertain(followed, key, delivery):
            await self._read_again(partition, followed, key, delivery)
        winner, not_sent = self._claims.winner(key), self._not_sent.get(key)
        if winner is None:
            return History(not_sent=not_sent)
        claim = _decoded(winner.value, AttemptStarted)
        outcome = None if winner.closed_by is None else _decoded(winner.closed_by, AttemptRecorded)
        return History(claim, outcome, not_sent)

    async def _read_again(self, partition: int, followed: _Followed, key: str, delivery: Delivery) -> None:
        """Once for all who wait for it; what they wait for is not forgotten on the way."""
        since_ms = delivery.first_dispatched_at_ms
        followed.wanted.setdefault(key, []).append(since_ms)
        try:
            async with followed.lock:
                if self._uncertain(followed, key, delivery):
                    await self._read_from(partition, followed, min(map(min, followed.wanted.values())) - MARGIN_MS)
        finally:
            followed.wanted[key].remove(since_ms)
            if not followed.wanted[key]:
                del followed.wanted[key]
            followed.closed.append(key)

    def given_back(self, delivery: Delivery) -> bool:
        key = _key(delivery)
        found, followed = self._not_sent.get(key), self._partitions.get(partition_of(delivery.message_id))
        if found is None:  # something of it may have come, and gone from memory, while the delivery waited for its turn
            return followed is not None and hash(key) in followed.forgotten
        return found.dispatch >= delivery.dispatch

    def _uncertain(self, followed: _Followed, key: str, delivery: Delivery) -> bool:
        """Whether memory can't tell that nobody has begun."""
        if followed.since_ms is None or hash(key) in followed.forgotten:
            return True
        if self._claims.winner(key) is not None or key in self._not_sent:
            return False
        return followed.since_ms > delivery.first_dispatched_at_ms

    def _read(self, record: Incoming) -> ClaimOf | CloseOf | ReleaseOf | None:
        """A journal record's meaning for the claims; of what gives an attempt back a note is made here."""
        try:
            raw = orjson.loads(record.value or b"")
            data, kind = raw["data"], raw["type"]
            claim_id = f"{data['owner']}/{record.key}/{data['dispatch']}"
            if kind == AttemptStarted.TYPE:
                return ClaimOf(record.key, claim_id, data["valid_until_ms"])
            if kind != AttemptRecorded.TYPE:
                return None
            given_back = data["outcome"] == "not_sent"
            if given_back:
                self._note_not_sent(record)
        except (orjson.JSONDecodeError, KeyError, TypeError, MalformedRecord) as error:
            metrics.JOURNAL_MALFORMED.inc()
            _log.error("journal_record_malformed", partition=record.partition, offset=record.offset, reason=str(error))
            return None
        self._note_closed(record)
        return ReleaseOf(record.key, claim_id) if given_back else CloseOf(record.key, claim_id)

    def _note_not_sent(self, record: Incoming) -> None:
        entry = _decoded(record.value, AttemptRecorded)
        before = self._not_sent.get(record.key)
        if before is None or before.dispatch <= entry.dispatch:
            self._not_sent[record.key] = entry

    def _note_closed(self, record: Incoming) -> None:
        """Keep the last so many settled attempts; of those before them only that there was something."""
        followed = self._partitions.get(record.partition)
        if followed is None:
            return
        followed.closed.append(record.key)
        if len(followed.closed) <= self._kept_closed // len(self._partitions):
            return
        key = followed.closed.popleft()
        winner = self._claims.winner(key)
        if key in followed.wanted or (winner is not None and winner.closed_by is None):
            return  # looked for now; or given back once, and begun again: it comes here once more
        self._claims.forget(key)
        self._not_sent.pop(key, None)
        followed.forgotten.add(hash(key))
        if len(followed.forgotten) > self._kept_forgotten // len(self._partitions):
            followed.forgotten.clear()
            followed.since_ms = record.timestamp_ms

    # --- writing ---

    async def claim(self, started: AttemptStarted, project_id: str) -> AttemptStarted:
        record = self._outgoing(started, project_id, started.valid_until_ms, str(started.started_at_ms))
        winner = await self._claims.claim(record, within=APPEND_WITHIN)
        return started if winner.value == record.value else _decoded(winner.value, AttemptStarted)

    async def record(self, recorded: AttemptRecorded, project_id: str, *, read_back: bool = False) -> None:
        record = self._outgoing(recorded, project_id, None, recorded.outcome)
        (ack,) = await self._log.append([record], within=APPEND_WITHIN)
        if read_back:
            await self._tail.applied(ack.topic, ack.partition, ack.offset, within=APPEND_WITHIN)

    def _outgoing(self, entry: JournalEntry, project_id: str, valid_until_ms: int | None, mark: str) -> Outgoing:
        """`mark` tells records of one dispatch apart."""
        key = f"{entry.message_id}#{entry.attempt}"
        envelope = seal(
            entry,
            record_id=derived_id("rec", entry.TYPE, key, str(entry.dispatch), entry.owner, mark),
            source="sender",
            subject=entry.message_id,
            time_ms=self._log.broker_now_ms(),
            project_id=project_id,
        )
        partition = partition_of(entry.message_id)
        return outgoing(self._topic, envelope, key=key, partition=partition, valid_until_ms=valid_until_ms)


def partition_of(message_id: str) -> int:
    """Its partition, of every topic that is partitioned by message. Raises ValueError for what is no message id."""
    parsed = parse_message_id(message_id)
    if parsed is None:
        raise ValueError(f"not a message id: {message_id!r:.60}")
    return parsed.partition


def _key(delivery: Delivery) -> str:
    return f"{delivery.message_id}#{delivery.attempt}"


T = TypeVar("T", bound=JournalEntry)


def _decoded(value: bytes | None, kind: type[T]) -> T:
    """Raises MalformedRecord."""
    return decode(value, by_type(kind)).data
