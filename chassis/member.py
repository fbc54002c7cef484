"""A member of a consumer group: paused until its service is ready, commits that prove a lease, and a listener that can
not fail unseen. What `partition_owner` and `offset_tracker` have in common.

It must never commit an offset that it was not told, nor after its assignment was given back.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from chassis.assignor import StickyByTopic
from chassis.clock import Clock
from chassis.failures import Done, Poison, Retry, attempt, contained
from chassis.kafka import connection
from chassis.lease import Lease
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.telemetry import logger

_log = logger("member")

COMMIT_WITHIN = 2.0  # seconds; a commit that takes longer proves nothing worth having
STORED_WITHIN = 5.0  # seconds, a connection of its own included
CLOSE_WITHIN = 5.0  # seconds to leave the group; after that the session time-out does it for us
# Seconds that a fetch waits at a broker for a first record. A partition that is resumed waits for as long at most; an idle
# fetch costs both sides a millisecond.
FETCH_WAIT = 0.25
_RECONNECT_AFTER = 1.0
_ASK_AGAIN_AFTER = 0.5


class Membership(Protocol):
    """What a service does about its partitions."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """They are ours, paused, without a position: start what makes them ready. Must not wait."""

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """They are about to go: finish and commit what is at hand, within less than the session time-out."""


class Member:
    """One `AIOKafkaConsumer` in a group, and the lease that the group's acceptance of commits proves.

    `offsets` is what the next commit says; the service sets it, and drops what it gave back.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        clock: Clock,
        *,
        group: str,
        topics: Sequence[str],
        membership: Membership,
        crash: Crash | None,
    ) -> None:
        self._kafka = kafka
        self._clock = clock
        self._group = group
        self._topics = topics
        self._membership = membership
        self.crash = crash
        self._consumer: AIOKafkaConsumer | None = None
        self._committing = asyncio.Lock()
        self._asking: asyncio.Task[Done[Mapping[TopicPartition, OffsetAndMetadata]] | Retry | Poison] | None = None
        self._accepted: dict[TopicPartition, OffsetAndMetadata] = {}
        self.offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self.lease = Lease(kafka.session_timeout.total_seconds())
        self.accepted_at = float("-inf")  # monotonic: when the last accepted commit was begun

    @property
    def consumer(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "start() first"
        return self._consumer

    async def start(self) -> None:
        """Connect and join; waits for the brokers, and for the group's first assignment, as long as it takes."""
        while True:
            self._consumer = self._make()
            self._consumer.subscribe(self._topics, listener=_Listener(self))
            try:
                await self._consumer.start()
            except KafkaError as error:
                _log.warning("waiting_for_brokers", group=self._group, reason=str(error))
                await self._consumer.stop()
                await self._clock.sleep(_RECONNECT_AFTER)
            else:
                return

    async def stop(self) -> None:
        """Leave the group, within a bounded time."""
        self.lease.revoke()
        if self._consumer is None:
            return
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._consumer.stop()
        except (TimeoutError, KafkaError) as error:
            _log.warning("leaving_the_group_failed", group=self._group, reason=repr(error))

    def remaining(self) -> float:
        """Seconds that the lease still holds; at most 0 where there is none."""
        return self.lease.ends_at() - self._clock.monotonic()

    async def stored(self, partition: TopicPartition) -> OffsetAndMetadata | None:
        """The group's offset with its metadata, or None where it has none. Raises Retry when the brokers do not say.

        Those who ask at the same time share one question, for all partitions.
        """
        asking = self._asking
        if asking is None or asking.done():
            asking = self._asking = asyncio.create_task(attempt(self._ask_stored()))
        match await asyncio.shield(asking):
            case Done(value=found):
                return found.get(partition)
            case Retry() | Poison() as verdict:
                raise verdict

    async def _ask_stored(self) -> Mapping[TopicPartition, OffsetAndMetadata]:
        return await stored_offsets(self._kafka, self._group, self.consumer.assignment())

    async def ends_of(self, partition: TopicPartition) -> tuple[int, int]:
        """The partition's first offset and its end. Raises Retry when the brokers do not say."""
        try:
            async with asyncio.timeout(COMMIT_WITHIN):
                first = await self.consumer.beginning_offsets([partition])
                last = await self.consumer.end_offsets([partition])
        except (TimeoutError, KafkaError) as error:
            raise Retry(_RECONNECT_AFTER, f"ends of {partition}: {error!r}") from error
        return first[partition], last[partition]

    async def commit(self) -> bool:
        """Commit `offsets`; whether the group accepted them, which proves the lease. One at a time."""
        async with self._committing:
            return await self._commit()

    async def commit_at(self, partition: TopicPartition, offset: int, metadata: str = "") -> bool:
        """`commit` with a new offset for `partition`; those who wait for one another's share one request."""
        wanted = self.offsets[partition] = OffsetAndMetadata(offset, metadata)
        async with self._committing:
            if self._accepted.get(partition) == wanted:
                return True
            return await self._commit()

    def commit_soon(self, partition: TopicPartition, offset: int) -> None:
        """The next commit says so: the one that proves the lease, at the latest."""
        self.offsets[partition] = OffsetAndMetadata(offset, "")

    @property
    def pending(self) -> bool:
        """Whether `offsets` say anything that the group has not accepted."""
        return any(self._accepted.get(place) != offset for place, offset in self.offsets.items())

    async def renew(self, every: float) -> None:
        """Keep the lease proven, for ever: a commit unless one was accepted within `every` seconds."""
        while True:
            await self._clock.sleep(every / 2)
            if self.offsets and self._clock.monotonic() - self.accepted_at >= every / 2:
                await self.commit()

    async def _commit(self) -> bool:
        """What is new; where nothing is, one offset again, for any accepted commit proves the lease."""
        offsets = {place: wanted for place, wanted in self.offsets.items() if self._accepted.get(place) != wanted}
        if not offsets:
            offsets = dict(list(self.offsets.items())[:1])
        if not offsets:
            return False
        begun_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(COMMIT_WITHIN):
                await self.consumer.commit(offsets)
        except CommitFailedError:
            self.lease.revoke()  # the group has moved on: nothing is ours until it has assigned again
            _log.warning("commit_refused", group=self._group)
            return False
        except (TimeoutError, KafkaError) as error:
            _log.warning("commit_failed", group=self._group, reason=repr(error))
            return False
        self.lease.prove(begun_at)
        self.accepted_at = begun_at
        self._accepted.update(offsets)
        return True

    async def took(self, partitions: set[TopicPartition]) -> None:
        """The group has assigned. (No heartbeat is sent while this runs.)"""
        self.consumer.pause(*partitions)  # before any await: a fetch may be on its way already
        for partition in partitions:
            # Any position will do while it is paused; without one aiokafka would look for its own, and fail.
            self.consumer.seek(partition, 0)
        self.lease.begin(self._clock.monotonic())
        self._asking = None  # an answer from before would not know what others have committed since
        _log.info("partitions_assigned", group=self._group, count=len(partitions))
        self._membership.assigned(sorted(partitions))

    async def gave_back(self, partitions: set[TopicPartition]) -> None:
        """The group rebalances. Once this returns, others may own what was ours."""
        self.lease.suspend()
        try:
            await self._membership.revoked(sorted(partitions))
        finally:
            self.lease.revoke()
            async with self._committing:  # none may be on its way: it would speak for the next generation
                self.offsets.clear()
                self._accepted.clear()

    def _make(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection(self._kafka),
            **group_arguments(self._kafka),
            group_id=self._group,
            client_id=f"sendarix-{self._group}",
            enable_auto_commit=False,
            auto_offset_reset="none",  # an offset that is gone stops the service: skipping would lose mail silently
        )


async def stored_offsets(
    kafka: KafkaSettings, group: str, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """A group's offsets with their metadata, where it has any. Raises Retry when the brokers do not say.

    Never by a consumer's `committed()`: aiokafka 0.14 takes the answer of a coordinator that is still loading for "no
    offset", and drops the metadata. Here a partition that is missing from the answer is no answer.
    """
    admin = AIOKafkaAdminClient(**connection(kafka))
    try:
        async with asyncio.timeout(STORED_WITHIN):
            await admin.start()
            found = await admin.list_consumer_group_offsets(group, partitions=list(partitions))
    except (TimeoutError, KafkaError) as error:
        raise Retry(_ASK_AGAIN_AFTER, f"offsets of {group}: {error!r}") from error
    finally:
        await admin.close()
    if not found.keys() >= set(partitions):
        raise Retry(_ASK_AGAIN_AFTER, f"offsets of {group}: the coordinator is not ready")
    return {place: stored for place, stored in found.items() if stored.offset >= 0}


def group_arguments(kafka: KafkaSettings, fetch_wait: float = FETCH_WAIT) -> dict[str, Any]:
    """How every consumer of ours is in its group; `fetch_wait` in seconds."""
    session = kafka.session_timeout.total_seconds()
    heartbeat = min(1.0, session / 6)
    return {
        # The assignor keeps its memory in its class; two groups of one process must not share it.
        "partition_assignment_strategy": [type("Sticky", (StickyByTopic,), {})],
        "session_timeout_ms": round(session * 1000),
        "heartbeat_interval_ms": round(heartbeat * 1000),
        # A lease proven just before we heard of a rebalance must end before the rebalance can.
        "rebalance_timeout_ms": round((session + 2 * heartbeat) * 1000),
        "fetch_max_wait_ms": round(fetch_wait * 1000),
    }


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka only logs what a listener raises: here it stops the service."""

    def __init__(self, member: Member) -> None:
        self._member = member

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await contained(self._member.took(assigned), self._member.crash)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await contained(self._member.gave_back(revoked), self._member.crash)
