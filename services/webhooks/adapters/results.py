"""Results of attempts into the log, under the lease of the partition they belong to.

What several attempts come to in the same moment goes there together: an append costs much, however little it carries.
"""

import asyncio
from collections.abc import Sequence

from chassis.clock import Clock
from chassis.log import LogUnavailable, Outgoing, outgoing, tombstone
from chassis.partition_owner import PartitionOwner
from chassis.rounds import Rounds
from chassis.telemetry import logger
from schemas.envelope import Envelope
from schemas.topics import TOPICS
from schemas.webhooks import WebhookAttempt
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.records import delivery_record

_log = logger("results")
_DELIVERIES = TOPICS["webhook-deliveries"]
_ATTEMPTS = TOPICS["webhook-attempts"]
# How long a result waits for the brokers, or for its partition: a rebalance takes it away, and mostly gives it back.
_WRITE_WITHIN = 15.0
_LOOK_EVERY = 0.1
# Seconds that a round waits for more to write: each is a request to the brokers, which is answered and read back.
_GATHER = 0.005


class OwnedResults:
    """`services.webhooks.ports.Results` on a `PartitionOwner`."""

    def __init__(self, owner: PartitionOwner, clock: Clock) -> None:
        self._owner = owner
        self._clock = clock
        self._rounds = Rounds(clock)
        # What waits for the next round, by partition, and the task that appends it.
        self._next: dict[int, tuple[list[Outgoing], asyncio.Task[bool]]] = {}

    async def may_start(self, partition: int) -> bool:
        while self._owner.tenure(_DELIVERIES.name, partition) is None:
            if self._lost(partition):
                return False
            await self._clock.sleep(_LOOK_EVERY)
        return True

    async def settle(
        self, delivery: Delivery, attempt: Envelope[WebhookAttempt] | None, following: Delivery | None
    ) -> bool:
        deadline = self._clock.monotonic() + _WRITE_WITHIN
        records = [self._state(delivery, following)]
        if attempt is not None:
            # In the partition of the same number: it has to be in one, and to ask the key for it costs a hash.
            made = outgoing(
                _ATTEMPTS, attempt, key=delivery.id, partition=delivery.partition, traceparent=delivery.traceparent
            )
            records.insert(0, made)
        for record in records:
            appended = await self._append_together(delivery.partition, record)
            while not appended:
                if self._clock.monotonic() > deadline or self._lost(delivery.partition):
                    _log.warning("result_not_recorded", delivery=delivery.id, attempt=delivery.attempt)
                    return False
                await self._clock.sleep(_LOOK_EVERY)
                appended = await self._appended(delivery.partition, [record])  # alone: no other's fault is its own
        return True

    async def append(self, partition: int, records: Sequence[Outgoing]) -> None:
        if not await self._owner.append(_DELIVERIES.name, partition, records):
            raise LogUnavailable(f"the right to write for partition {partition} is not proven")

    async def _append_together(self, partition: int, record: Outgoing) -> bool:
        """With what comes for the partition until the round before has ended; whether all of it is in the log."""
        if partition not in self._next:
            gathered: list[Outgoing] = []
            self._next[partition] = gathered, asyncio.create_task(self._append_in_round(partition, gathered))
        gathered, appending = self._next[partition]
        gathered.append(record)
        return await asyncio.shield(appending)  # whoever is cancelled leaves the others alone

    async def _append_in_round(self, partition: int, gathered: Sequence[Outgoing]) -> bool:
        async with self._rounds.turn():
            await self._clock.sleep(_GATHER)
            del self._next[partition]
            return await self._appended(partition, gathered)

    async def _appended(self, partition: int, records: Sequence[Outgoing]) -> bool:
        try:
            return await self._owner.append(_DELIVERIES.name, partition, records)
        except LogUnavailable as error:
            _log.warning("result_waits", reason=str(error))
            return False

    def _state(self, delivery: Delivery, following: Delivery | None) -> Outgoing:
        if following is None:
            return tombstone(_DELIVERIES, delivery.id, delivery.partition)
        record = delivery_record(following)
        return outgoing(
            _DELIVERIES, record, key=following.id, partition=delivery.partition, traceparent=following.traceparent
        )

    def _lost(self, partition: int) -> bool:
        """Whether the group has settled, and others have the partition."""
        owned = self._owner.owned()
        return bool(owned) and (_DELIVERIES.name, partition) not in owned and not self._owner.ready()
