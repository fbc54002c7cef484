"""Keeps the health of endpoints, call by call: nothing is written while it stays as it is."""

import asyncio

from chassis.log import LogUnavailable
from chassis.telemetry import logger
from schemas.tables import WebhookEndpoint
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.health import Change, change_of, exhausted_of
from services.webhooks.domain.records import Made
from services.webhooks.ports import Health

_log = logger("health")


class HealthKeeper:
    def __init__(self, health: Health) -> None:
        self._health = health
        self._arrived: dict[str, int] = {}  # endpoint: when a call last arrived there, from this process
        self._changing = asyncio.Lock()

    async def told(self, endpoint: WebhookEndpoint, delivery: Delivery, made: Made, *, last: bool) -> bool:
        """A call was made, its delivery's `last` or not; False where what follows from it could not be written."""
        try:
            if self._change(endpoint, delivery, made) is not None:
                async with self._changing:  # many calls may tell the same at once: the first one's word is in the table
                    await self._write(endpoint, self._change(endpoint, delivery, made))
            if made.verdict.kind == "succeeded":
                self._arrived[endpoint.id] = made.at_ms
            elif last and made.verdict.kind == "failed" and delivery.cause != "test":
                await self._tell_exhausted(endpoint, delivery, made)
        except LogUnavailable as error:
            _log.warning("health_not_recorded", endpoint=endpoint.id, reason=str(error))
            return False
        return True

    def _change(self, endpoint: WebhookEndpoint, delivery: Delivery, made: Made) -> Change | None:
        return change_of(endpoint, self._health.of(endpoint.id), delivery, made, self._arrived.get(endpoint.id))

    async def _write(self, endpoint: WebhookEndpoint, change: Change | None) -> None:
        if change is not None:
            await self._health.change(endpoint, change.health, change.events)
            kinds = [event.type for event in change.events]
            _log.info("endpoint_health", endpoint=endpoint.id, project=endpoint.project_id, events=kinds)

    async def _tell_exhausted(self, endpoint: WebhookEndpoint, delivery: Delivery, made: Made) -> None:
        async with self._changing:
            event = exhausted_of(endpoint, self._health.exhausted(endpoint.id), delivery, made)
            if event is not None:
                await self._health.tell_exhausted(endpoint, event)
