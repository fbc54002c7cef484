"""Webhook endpoints: made, shown, changed, tested and removed by their project. A secret leaves once, when it is made."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import RandomBits, new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.tables import WebhookEndpoint
from schemas.webhooks import ReplayState, WebhookTest
from services.ingest.domain.access import Caller
from services.ingest.domain.endpoints import (
    SECRET_BYTES,
    changed,
    endpoint_shown,
    read_change,
    read_endpoint,
    rotated,
    signing_secret,
)
from services.ingest.domain.faults import Refused
from services.ingest.domain.key_requests import read_rotation
from services.ingest.domain.pages import MAX_LIMIT, PageRequest
from services.ingest.ports import EndpointCommands, Entities, Seals

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ManageEndpoints:
    clock: Clock
    random_bits: RandomBits
    seals: Seals
    endpoints: Entities[WebhookEndpoint]
    allow_loopback: bool
    commands: EndpointCommands
    replays: Entities[ReplayState]

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """The endpoint, with its secret this once. Raises Refused, LogUnavailable."""
        new = read_endpoint(body, allow_loopback=self.allow_loopback)
        secret = self._new_secret()
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
            disabled_at=to_timestamp(now_ms) if new.disabled else None,
            disabled_reason="owner" if new.disabled else None,
            rate_per_second=new.rate_per_second,
        )
        await self._put(endpoint)
        return {**endpoint_shown(endpoint), "secret": secret}

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.endpoints.page(caller.project_id, page)
        return [endpoint_shown(endpoint) for endpoint in found], cursor

    def show(self, caller: Caller, endpoint_id: str) -> Shown:
        return endpoint_shown(self.own(caller, endpoint_id))

    async def change(self, caller: Caller, endpoint_id: str, body: Mapping[str, Any]) -> Shown:
        """What is not named stays. Raises Refused, LogUnavailable."""
        before = self.own(caller, endpoint_id)
        asked = read_change(body, before, allow_loopback=self.allow_loopback)
        return endpoint_shown(await self._put(changed(before, asked, self.clock.now_ms())))

    async def rotate_secret(self, caller: Caller, endpoint_id: str, body: Mapping[str, Any]) -> Shown:
        """The endpoint with a new secret, shown this once; the old one signs, too, for a while."""
        overlap = read_rotation(body)
        before, secret = self.own(caller, endpoint_id), self._new_secret()
        after = rotated(before, self.seals.seal(secret), overlap, self.clock.now_ms())
        return {**endpoint_shown(await self._put(after)), "secret": secret}

    async def test(self, caller: Caller, endpoint_id: str) -> Shown:
        """Have a test event called; what came of it is among the attempts, under the event id."""
        endpoint, now_ms = self.own(caller, endpoint_id), self.clock.now_ms()
        event_id = new_id("evt", now_ms, self.random_bits)
        test = WebhookTest(webhook_id=endpoint.id, by=caller.key_id)
        await self.commands.send(caller.project_id, event_id, test, now_ms)
        return {"object": "webhook_test", "webhook_id": endpoint.id, "event_id": event_id}

    async def delete(self, caller: Caller, endpoint_id: str) -> Shown:
        endpoint = self.own(caller, endpoint_id)
        await self.endpoints.remove(endpoint.id)
        replays, _ = self.replays.page(endpoint.id, PageRequest(MAX_LIMIT, None))  # more are not kept
        await asyncio.gather(*(self.replays.remove(replay.id) for replay in replays))
        return {"object": "webhook", "id": endpoint.id, "deleted": True}

    def _new_secret(self) -> str:
        return signing_secret(self.random_bits(8 * SECRET_BYTES).to_bytes(SECRET_BYTES))

    async def _put(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        """Returns when every fan-out goes by it: no event after the answer passes it by."""
        await self.endpoints.put(endpoint.id, endpoint)
        await self.clock.sleep(ANSWER_AFTER)
        return endpoint

    def own(self, caller: Caller, endpoint_id: str) -> WebhookEndpoint:
        """Raises Refused (404) for an endpoint that is not, or not the caller's."""
        endpoint = self.endpoints.get(caller.project_id, endpoint_id)
        if endpoint is None:
            raise Refused("not_found", "There is no such webhook.")
        return endpoint
