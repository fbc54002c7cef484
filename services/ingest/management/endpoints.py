"""Webhook endpoints: made, shown and removed by their project. The secret leaves once, when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import RandomBits, new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.tables import WebhookEndpoint
from services.ingest.domain.access import Caller
from services.ingest.domain.endpoints import SECRET_BYTES, endpoint_shown, read_endpoint, signing_secret
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.ports import Entities, Seals

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ManageEndpoints:
    clock: Clock
    random_bits: RandomBits
    seals: Seals
    endpoints: Entities[WebhookEndpoint]
    allow_loopback: bool

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """The endpoint, with its secret this once. Raises Refused, LogUnavailable."""
        new = read_endpoint(body, allow_loopback=self.allow_loopback)
        secret = signing_secret(self.random_bits(8 * SECRET_BYTES).to_bytes(SECRET_BYTES))
        now_ms = self.clock.now_ms()
        endpoint = WebhookEndpoint(
            id=new_id("whk", now_ms),
            project_id=caller.project_id,
            url=new.url,
            events=list(new.events),
            tags=list(new.tags),
            description=new.description,
            sealed_secret=self.seals.seal(secret),
            created_at=to_timestamp(now_ms),
        )
        await self.endpoints.put(endpoint.id, endpoint)
        await self.clock.sleep(ANSWER_AFTER)  # by then every fan-out knows it: no event after the answer passes it by
        return {**endpoint_shown(endpoint), "secret": secret}

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.endpoints.page(caller.project_id, page)
        return [endpoint_shown(endpoint) for endpoint in found], cursor

    def show(self, caller: Caller, endpoint_id: str) -> Shown:
        return endpoint_shown(self._own(caller, endpoint_id))

    def check_own(self, caller: Caller, endpoint_id: str) -> None:
        """Raises Refused (404) for an endpoint that is not, or not the caller's."""
        self._own(caller, endpoint_id)

    async def delete(self, caller: Caller, endpoint_id: str) -> Shown:
        endpoint = self._own(caller, endpoint_id)
        await self.endpoints.remove(endpoint.id)
        return {"object": "webhook", "id": endpoint.id, "deleted": True}

    def _own(self, caller: Caller, endpoint_id: str) -> WebhookEndpoint:
        endpoint = self.endpoints.get(caller.project_id, endpoint_id)
        if endpoint is None:
            raise Refused("not_found", "There is no such webhook.")
        return endpoint
