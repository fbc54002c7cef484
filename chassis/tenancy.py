"""One partition in the hands of its owner: taken over, fed with batches and ticks, taken over again when in doubt, left.

One task per partition does all of it, so batches and ticks never overlap. Doubt is one case: whenever a write is not
confirmed, is fenced, or its lease is over, the view is thrown away and the partition is taken over again behind a new
fence: what the old epoch may still land is void, and the inputs are read again from the last commit.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from aiokafka import TopicPartition
from prometheus_client import Histogram

from chassis.changelog import NO_FENCE, Changelog, marks
from chassis.clock import Clock
from chassis.failures import LOG_BACK_OFF, RETRIES, DeadLetters, Done, Poison, Retry, attempt
from chassis.log import Ack, Incoming, Log, LogUnavailable, Outgoing, RecordTooLarge, outgoing, tombstone
from chassis.member import Member
from chassis.ownership import Factory, OwnedPartition, PutsAgain, Received, RemembersFences, Step, Tenure
from chassis.progress import Progress
from chassis.rounds import Rounds
from chassis.tail import NotFollowed, Tail
from chassis.telemetry import logger
from schemas.envelope import MalformedRecord, decode, seal
from schemas.states import FENCE_KEY, Fence
from schemas.topics import Topic

_log = logger("partition_owner")

APPEND_WITHIN = 5.0  # seconds for one append, or less where the lease ends before
TICK_EVERY = 0.1
POSITION_EVERY = 1.0  # seconds between two position records of a partition
NO_LEASE_PAUSE = 0.05  # seconds between two looks for a lease that is not proven
FAILURES_PER_LINE = 10  # failed take-overs: during an outage each partition fails every few seconds
RESTORE_LOG_EVERY = 30.0  # seconds between two log lines of a long restore
POISON_WITHIN = 1.0  # seconds for a dead letter that timers wait for
MOST_PUT_AGAIN = 500  # values in one go, as in a batch

RESTORE_SECONDS = Histogram(
    "owner_restore_seconds", "Time from an assignment until the partition is processed.", ["group", "topic"]
)


class Doubt(Exception):
    """It is not certain what of the last write counts: the partition must be taken over again."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every tenancy of an owner works with."""

    log: Log
    tail: Tail
    clock: Clock
    dead_letters: DeadLetters
    member: Member
    progress: Progress
    factory: Factory
    owner_id: str
    max_batch: int
    rounds: Rounds


class Tenancy(ABC):
    """From one assignment of a partition to its revocation: what both kinds have in common."""

    def __init__(self, tools: Tools, topic: Topic, changelog: Topic, place: TopicPartition) -> None:
        self._tools = tools
        self._topic = topic
        self._types = topic.types
        self._changelog_topic = changelog
        self._place = place
        self._where = {"topic": place.topic, "partition": place.partition}
        self._view: OwnedPartition | None = None
        self._changelog = Changelog(_ignore)
        self._epoch = NO_FENCE
        self._running = False
        self._leaving = False
        self._tick_due = 0.0
        self._woken = asyncio.Event()

    @property
    def view(self) -> OwnedPartition | None:
        """The restored view, or None while the partition is being taken over."""
        return self._view if self._running else None

    def tenure(self) -> Tenure | None:
        """The right to write at this moment, or None where there is none."""
        remaining = self._tools.member.remaining()
        if not self._running or remaining <= 0:
            return None
        return Tenure(self._epoch, self._tools.log.broker_now_ms() + int(remaining * 1000))

    def leave(self) -> None:
        """Finish the batch at hand and end; `run` returns then."""
        self._leaving = True
        self._woken.set()

    async def run(self) -> None:
        """Own the partition until it is left, or the task is cancelled."""
        failures = 0
        try:
            while not self._leaving:
                match await attempt(self._take_over()):
                    case Retry() as retry:
                        if failures % FAILURES_PER_LINE == 0:
                            _log.warning("take_over_failed", **self._where, failures=failures + 1, reason=retry.reason)
                        failures += 1
                        await self._close()
                        await self._tools.clock.sleep(retry.after)
                    case Poison() as poison:
                        raise poison
                    case Done():
                        failures = 0
                        await self._serve_until_doubt()
        finally:
            await self._close()

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        """Append under the lease. Raises Doubt where there is none, LogUnavailable where it is not confirmed."""
        remaining = self._tools.member.remaining()
        if remaining <= 0:
            raise Doubt("the lease is over")
        return await self._tools.log.append(records, within=min(APPEND_WITHIN, remaining))

    @abstractmethod
    async def _take_over(self) -> None:
        """Restore the view and set `_running`. Raises Retry where the brokers do not answer."""

    @abstractmethod
    async def _work(self) -> bool:
        """Do what is at hand; False where there is nothing, now."""

    @abstractmethod
    async def _upkeep(self, tenure: Tenure) -> list[Outgoing]:
        """State records of the owner's own, to go out with a tick."""

    async def _serve_until_doubt(self) -> None:
        try:
            while not self._leaving:
                self._woken.clear()
                worked = await self._work()
                if self._tick_due <= self._tools.clock.monotonic():
                    await self._tick()  # between two batches, too: timers must not wait for the end of a flood
                elif not worked:
                    await self._rest()
        except RecordTooLarge:
            raise
        except (Doubt, LogUnavailable) as doubt:
            _log.warning("partition_in_doubt", **self._where, reason=str(doubt))
            await self._close()

    async def _rest(self) -> None:
        """Until the next tick, or until there is work."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._tick_due - self._tools.clock.monotonic()):
                await self._woken.wait()

    async def _tick(self) -> None:
        self._tick_due = _next_tick(self._tools.clock.monotonic())
        tenure, view = self.tenure(), self._view
        if tenure is None or view is None:
            return
        if self._changelog.fence != self._epoch:
            raise Doubt("another owner's fence")
        match await attempt(view.tick(tenure)):
            case Retry(after=after):
                self._tick_due += after
            case Poison() as poison:
                raise poison
            case Done(value=step):
                await self._write(Step([*await self._upkeep(tenure), *step.state], step.outputs), tenure)

    async def _write(self, step: Step, tenure: Tenure) -> None:
        """1 the state, read back unfenced; 2 the outputs. (3, the commit, is the batch's.) Raises Doubt, LogUnavailable."""
        # 1 state
        if step.state:
            acks = await self.append([_marked(record, tenure) for record in step.state])
            await self._read_back(acks[-1].offset)
        # 2 outputs
        if step.outputs:
            await self.append(step.outputs)

    async def _read_back(self, offset: int) -> None:
        await self._tools.tail.applied(self._changelog_topic.name, self._place.partition, offset, within=APPEND_WITHIN)
        if self._changelog.fence != self._epoch:
            raise Doubt("fenced by another owner")

    async def _close(self) -> None:
        self._running = False
        if self._view is not None:
            await self._tools.tail.unfollow(self._changelog_topic.name, self._place.partition)
            self._view.close()
            self._view = None


class FedTenancy(Tenancy):
    """A partition of inputs, with its state in another topic's partition of the same number."""

    def __init__(self, tools: Tools, topic: Topic, changelog: Topic, place: TopicPartition) -> None:
        super().__init__(tools, topic, changelog, place)
        self._inbox: deque[Incoming] = deque()
        self._expected = 0  # the next input offset to come in
        self._done = 0  # every input below is folded, and what it caused is in the log
        self._position = 0  # what the last position record says
        self._position_due = 0.0
        self._batch_due = 0.0
        self._judged = 0  # records below count as good or bad already, however often their batch comes
        self._buried: dict[
            int, Received
        ] = {}  # poison of the batch at hand: dead-lettered once, however often it comes

    @property
    def full(self) -> bool:
        """Whether a whole batch waits already."""
        return len(self._inbox) >= self._tools.max_batch

    def receive(self, records: Sequence[Incoming]) -> None:
        """Take what was fetched; a batch that was asked for before the last seek is dropped."""
        if self._running and records[0].offset >= self._expected:
            self._inbox.extend(records)
            self._expected = records[-1].offset + 1
            self._woken.set()

    def report(self) -> None:
        """Tell how far it is."""
        if self._running:
            end = self._tools.member.consumer.highwater(self._place)
            self._tools.progress.at((self._place.topic, self._place.partition), self._done, end)

    async def _take_over(self) -> None:
        """Restore, prove the lease, fence, read the fence back, and only then let inputs come."""
        member, began = self._tools.member, self._tools.clock.monotonic()
        stored = await member.stored(self._place)
        view = await self._restore()
        start = stored.offset if stored is not None else view.input_position()
        if start is None:  # neither the group nor the changelog has ever seen this partition
            start, _ = await member.ends_of(self._place)
        if not await member.commit_at(self._place, start):
            raise Retry(LOG_BACK_OFF, "the group has not confirmed the assignment")
        await self._fence()
        self._inbox.clear()
        self._buried.clear()
        self._done = self._expected = self._judged = start
        self._running = True
        member.consumer.seek(self._place, start)
        member.consumer.resume(self._place)
        took = self._tools.clock.monotonic() - began
        RESTORE_SECONDS.labels(self._tools.dead_letters.group, self._topic.name).observe(took)
        _log.info("partition_owned", **self._where, epoch=self._epoch, start=start, seconds=round(took, 3))

    async def _restore(self) -> OwnedPartition:
        view = self._view = self._tools.factory(self._topic, self._place.partition)
        start = view.changelog_start()
        if isinstance(view, RemembersFences):
            fence = view.changelog_fence()
            self._changelog = Changelog(view.apply, NO_FENCE if fence is None else fence, view.fenced)
        else:
            self._changelog = Changelog(view.apply)
        name, partition = self._changelog_topic.name, self._place.partition
        await self._tools.tail.follow(name, partition, self._changelog.apply, "earliest" if start is None else start)
        await _caught_up(self._tools.tail, name, partition)
        return view

    async def _fence(self) -> None:
        now_ms = self._tools.log.broker_now_ms()
        fence = seal(
            Fence(owner=self._tools.owner_id),
            record_id=f"{self._tools.owner_id}/{now_ms}/{self._place.topic}/{self._place.partition}",
            source=self._tools.dead_letters.group,
            subject=FENCE_KEY,
            time_ms=now_ms,
            project_id="",
        )
        record = outgoing(self._changelog_topic, fence, key=FENCE_KEY, partition=self._place.partition)
        try:
            (ack,) = await self.append([record])
            self._epoch = ack.offset
            await self._read_back(ack.offset)
        except Doubt as doubt:
            raise Retry(NO_LEASE_PAUSE, str(doubt)) from doubt

    async def _work(self) -> bool:
        """One batch, in a round with the other partitions'."""
        if not self._inbox or self.tenure() is None or self._tools.clock.monotonic() < self._batch_due:
            return False
        async with self._tools.rounds.turn():
            await self._handle(list(islice(self._inbox, self._tools.max_batch)))
        return True

    async def _handle(self, batch: Sequence[Incoming]) -> None:
        """1 its state, 2 its outputs; 3 what the next commit says."""
        match await attempt(self._decide(batch)):
            case Retry() as retry:
                self._back_off(retry)
            case Poison() as poison:
                await self._bury_verdict(poison)
            case Done(value=(step, decided_under)):
                await self._write(step, decided_under)
                self._finish(batch)

    async def _decide(self, batch: Sequence[Incoming]) -> tuple[Step, Tenure]:
        received = await self._receive(batch)
        tenure, view = self.tenure(), self._view
        if tenure is None or view is None:
            raise Retry(NO_LEASE_PAUSE, "the lease is over")
        return await view.decide(received, tenure), tenure

    async def _receive(self, batch: Sequence[Incoming]) -> list[Received]:
        received, good = [], 0
        for record in batch:
            found = self._buried.get(record.offset)
            if found is None:
                try:
                    found = Received(record, decode(record.value, self._types))
                    good += record.offset >= self._judged
                except MalformedRecord as error:
                    self._tools.dead_letters.handled(good)
                    good, self._judged = 0, record.offset
                    found = await self._bury(record, str(error), "MalformedRecord")
            received.append(found)
        self._tools.dead_letters.handled(good)
        self._judged = batch[-1].offset + 1
        return received

    async def _bury(self, record: Incoming, reason: str, error_type: str) -> Received:
        reference = await self._tools.dead_letters.bury(
            self._topic, record, reason, within=APPEND_WITHIN, error_type=error_type
        )
        self._buried[record.offset] = buried = Received(record, None, reason, reference)
        return buried

    async def _bury_verdict(self, poison: Poison) -> None:
        """`decide` found a record that it can never handle: it comes again without its envelope."""
        if poison.record.offset in self._buried:
            raise poison  # nor can it handle what it called poison: a bug
        outcome = await attempt(self._bury(poison.record, poison.reason, "Poison"))
        if isinstance(outcome, Retry):
            self._back_off(outcome)

    def _back_off(self, retry: Retry) -> None:
        """Only this partition waits; its ticks go on. The batch stays at hand, nothing is fetched again."""
        self._batch_due = self._tools.clock.monotonic() + retry.after
        RETRIES.labels(self._tools.dead_letters.group, self._topic.name).inc()
        _log.warning("batch_retried", **self._where, after=retry.after, reason=retry.reason)

    def _finish(self, batch: Sequence[Incoming]) -> None:
        for _ in batch:
            self._inbox.popleft()
        self._done = batch[-1].offset + 1
        # 3 commit, with the lease's next proof: until then a crash brings the batch again, to be replayed
        self._tools.member.commit_soon(self._place, self._done)
        self._buried.clear()
        self.report()

    async def _upkeep(self, tenure: Tenure) -> list[Outgoing]:
        records = self._put_again(tenure)
        now = self._tools.clock.monotonic()
        if self._view is not None and self._done != self._position and now >= self._position_due:
            self._position, self._position_due = self._done, now + POSITION_EVERY
            position = self._view.position_record(self._done, tenure)
            records += [] if position is None else [position]
        return records

    def _put_again(self, tenure: Tenure) -> list[Outgoing]:
        """The live values of keys whose last record is void: compaction would keep the void one."""
        keys = list(islice(self._changelog.overwritten, MOST_PUT_AGAIN))
        if not keys or not isinstance(self._view, PutsAgain):
            return []
        _log.warning("void_records_overwritten", **self._where, keys=len(keys))
        live = ((key, self._view.current(key, tenure)) for key in keys)
        gone = self._changelog_topic
        return [tombstone(gone, key, self._place.partition) if record is None else record for key, record in live]

    async def _close(self) -> None:
        if self._place in self._tools.member.consumer.assignment():
            self._tools.member.consumer.pause(self._place)
        await super()._close()


class SelfTenancy(Tenancy):
    """A partition whose records are its state: read whole at each take-over, written by ticks (and by producers of it).

    The group's offset says how far poison has been dead-lettered; nothing else depends on it.
    """

    def __init__(self, tools: Tools, topic: Topic, changelog: Topic, place: TopicPartition) -> None:
        super().__init__(tools, topic, changelog, place)
        self._poison: deque[tuple[Incoming, str]] = deque()
        self._reported = 0  # poison below this offset is in the DLQ
        self._applied = 0  # good records since the last tick

    async def _take_over(self) -> None:
        member, partition = self._tools.member, self._place.partition
        first, end = await member.ends_of(self._place)
        stored = await member.stored(self._place)
        # Where the group has no offset the topic is new, or the poison in it was reported longer than a week ago.
        self._reported = min(end, stored.offset) if stored is not None else first
        if not await member.commit_at(self._place, self._reported):
            raise Retry(LOG_BACK_OFF, "the group has not confirmed the assignment")
        self._poison.clear()
        self._view = self._tools.factory(self._topic, partition)
        await self._tools.tail.follow(self._topic.name, partition, self._fold, "earliest")
        await _caught_up(self._tools.tail, self._topic.name, partition)
        self._running = True
        _log.info("partition_owned", **self._where, end=end)

    def _fold(self, record: Incoming) -> None:
        if record.value is not None:
            try:
                decode(record.value, self._types)
            except MalformedRecord as error:
                if record.offset >= self._reported:
                    self._poison.append((record, str(error)))
                return
        self._applied += 1
        if self._view is not None:
            self._view.apply(record)

    async def _work(self) -> bool:
        return False

    async def _upkeep(self, tenure: Tenure) -> list[Outgoing]:
        del tenure
        if not isinstance(await attempt(self._report_poison()), Done):
            return []  # the DLQ is away: said again with the next tick, and nothing committed meanwhile
        self._tools.dead_letters.handled(self._applied)
        self._applied = 0
        self._reported = self._tools.tail.position(self._topic.name, self._place.partition)
        self._tools.member.commit_soon(self._place, self._reported)
        return []

    async def _report_poison(self) -> None:
        while self._poison:
            record, reason = self._poison[0]
            await self._tools.dead_letters.bury(
                self._topic, record, reason, within=POISON_WITHIN, error_type="MalformedRecord"
            )
            self._poison.popleft()


def _next_tick(now: float) -> float:
    """All partitions tick in the same moments: one waking up, and one request for what they write."""
    beats = round(now / TICK_EVERY)
    return (beats + 1) * TICK_EVERY


async def _caught_up(tail: Tail, topic: str, partition: int) -> None:
    """However long a restore takes, it says that it is at it. Raises NotFollowed where nobody goes on with it."""
    while True:
        try:
            return await tail.caught_up(topic, partition, within=RESTORE_LOG_EVERY)
        except NotFollowed:
            raise
        except LogUnavailable:
            _log.info("still_restoring", topic=topic, partition=partition)


def _marked(record: Outgoing, tenure: Tenure) -> Outgoing:
    """A tombstone with the owner's marks; a value carries them in its payload."""
    if record.value is not None:
        return record
    return replace(record, headers=record.headers + marks(tenure.epoch, tenure.valid_until_ms))


def _ignore(record: Incoming) -> None:
    del record
