"""Results of attempts into the log, under the lease of the partition they belong to."""

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.log import LogUnavailable, Outgoing, outgoing, tombstone
from chassis.partition_owner import PartitionOwner
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


class OwnedResults:
    """`services.webhooks.ports.Results` on a `PartitionOwner`."""

    def __init__(self, owner: PartitionOwner, clock: Clock) -> None:
        self._owner = owner
        self._clock = clock

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
            made = outgoing(_ATTEMPTS, attempt, key=delivery.id, traceparent=delivery.traceparent)
            records.insert(0, made)
        for record in records:
            while not await self._appended(delivery.partition, record):
                if self._clock.monotonic() > deadline or self._lost(delivery.partition):
                    _log.warning("result_not_recorded", delivery=delivery.id, attempt=delivery.attempt)
                    return False
                await self._clock.sleep(_LOOK_EVERY)
        return True

    async def append(self, partition: int, records: Sequence[Outgoing]) -> None:
        if not await self._owner.append(_DELIVERIES.name, partition, records):
            raise LogUnavailable(f"the right to write for partition {partition} is not proven")

    async def _appended(self, partition: int, record: Outgoing) -> bool:
        try:
            return await self._owner.append(_DELIVERIES.name, partition, [record])
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
