"""Replays of a webhook's events: asked for, and looked at while they last and after.

How one stands is written by the service webhooks; here only that it was asked for. It must never be without its record
once it is answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import RandomBits, new_id
from chassis.log import LogUnavailable
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.webhooks import ReplayState, WebhookReplay
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import MAX_LIMIT, PageRequest
from services.ingest.domain.replays import read_replay, replay_shown
from services.ingest.management.endpoints import ManageEndpoints
from services.ingest.ports import EndpointCommands, Entities

Shown = dict[str, Any]
MOST_KEPT = MAX_LIMIT  # of an endpoint: the newest


@dataclass(frozen=True, slots=True)
class ManageReplays:
    clock: Clock
    random_bits: RandomBits
    endpoints: ManageEndpoints
    replays: Entities[ReplayState]
    commands: EndpointCommands

    async def create(self, caller: Caller, endpoint_id: str, body: Mapping[str, Any]) -> Shown:
        """Have events called once more. Raises Refused, LogUnavailable."""
        endpoint, now_ms = self.endpoints.own(caller, endpoint_id), self.clock.now_ms()
        new = read_replay(body, now_ms)
        if endpoint.disabled_at is not None:
            message = "The webhook is disabled, so nothing is called there."
            raise Refused("conflict", message, hint='Enable it first: PATCH with {"disabled": false}.')
        asked: dict[str, Any] = {
            "id": new_id("rpl", now_ms, self.random_bits),
            "webhook_id": endpoint.id,
            "event_id": new.event_id,
            "since": to_timestamp(new.since_ms),
            "until": to_timestamp(new.until_ms),
            "event_types": list(new.event_types),
            "only_failed": new.only_failed,
        }
        state = ReplayState(**asked, project_id=caller.project_id, status="queued", created_at=to_timestamp(now_ms))
        await self._keep(state)
        try:
            await self.commands.send(caller.project_id, state.id, WebhookReplay(**asked, by=caller.key_id), now_ms)
        except LogUnavailable:  # where it comes to be in the log all the same, its state is written again
            await self.replays.remove(state.id)
            raise
        await self.clock.sleep(ANSWER_AFTER)  # every replica can show it
        return replay_shown(state)

    def page(self, caller: Caller, endpoint_id: str, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.replays.page(self.endpoints.own(caller, endpoint_id).id, page)
        return [replay_shown(replay) for replay in found], cursor

    def show(self, caller: Caller, endpoint_id: str, replay_id: str) -> Shown:
        replay = self.replays.get(self.endpoints.own(caller, endpoint_id).id, replay_id)
        if replay is None:
            raise Refused("not_found", "There is no such replay of this webhook.")
        return replay_shown(replay)

    async def _keep(self, state: ReplayState) -> None:
        """Put it in the place of the oldest, where there are many."""
        newest, _ = self.replays.page(state.webhook_id, PageRequest(MOST_KEPT, None))
        if len(newest) == MOST_KEPT:
            await self.replays.remove(newest[-1].id)
        await self.replays.put(state.id, state)
