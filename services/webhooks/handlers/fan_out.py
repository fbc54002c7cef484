"""From events to deliveries: one for each endpoint that wants the event. Stateless: the same event makes the same ids."""

from collections.abc import Sequence
from typing import cast

from chassis.consume import Batch
from chassis.failures import Retry
from chassis.log import Outgoing, outgoing
from schemas.envelope import Envelope
from schemas.events import MessageEvent
from schemas.topics import TOPICS
from services.webhooks.domain.matching import matching
from services.webhooks.domain.records import first_delivery
from services.webhooks.metrics import FANNED_OUT
from services.webhooks.ports import Endpoints

_DELIVERIES = TOPICS["webhook-deliveries"]
_KNOWN_WITHIN = 2.0  # seconds that a batch waits for the endpoints; a probe comes each 100 ms
_RETRY_AFTER = 0.5


class FanOut:
    """The handler of `chassis.consume.BatchConsumer`."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    async def handle(self, batch: Batch) -> Sequence[Outgoing]:
        """The deliveries of a batch. Raises Retry where the endpoints are not known as of now."""
        # An endpoint that was answered before the event happened must be here, and one that was deleted must not.
        if not await self._endpoints.caught_up(within=_KNOWN_WITHIN):
            raise Retry(_RETRY_AFTER, "the endpoints are not known as of now")
        made: list[Outgoing] = []
        for record, envelope in batch.records:
            event = cast("Envelope[MessageEvent]", envelope)  # the topic holds nothing else
            for endpoint in matching(event, self._endpoints.of_project(event.project_id)):
                delivery = first_delivery(event, record.value or b"", endpoint)
                made.append(outgoing(_DELIVERIES, delivery, key=delivery.data.id, traceparent=record.traceparent))
        FANNED_OUT.inc(len(made))
        return made
