"""API keys of a project (R13): made, listed, revoked. Only a hash is kept; a revocation is answered once it holds everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.tables import ApiKey
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.key_requests import key_shown, read_key_request
from services.ingest.domain.keys import STANDARD_REQUESTS_PER_MINUTE, hash_of, new_key
from services.ingest.domain.pages import PageRequest
from services.ingest.ports import Entities

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ManageKeys:
    clock: Clock
    keys: Entities[ApiKey]

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """The key's record, with the key itself this once. Raises Refused, LogUnavailable."""
        new = read_key_request(body, caller)
        text = new_key(new.environment)
        now_ms = self.clock.now_ms()
        key = ApiKey(
            id=new_id("key", now_ms),
            project_id=caller.project_id,
            name=new.name,
            environment=new.environment,
            sha256=hash_of(text),
            scopes=list(new.scopes),
            requests_per_minute=STANDARD_REQUESTS_PER_MINUTE,
            created_at=to_timestamp(now_ms),
            revoked_at=None,
        )
        await self.keys.put(key.id, key)
        await self.clock.sleep(ANSWER_AFTER)  # by then every replica knows the key, too
        return {**key_shown(key), "key": text}

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.keys.page(caller.project_id, page)
        return [key_shown(key) for key in found], cursor

    async def revoke(self, caller: Caller, key_id: str) -> Shown:
        """Answered when the lease of every reader that did not know it yet has ended."""
        key = self.keys.get(caller.project_id, key_id)
        if key is None:
            raise Refused("not_found", "There is no such API key.")
        if key.revoked_at is None:
            await self.keys.put(key.id, key.model_copy(update={"revoked_at": to_timestamp(self.clock.now_ms())}))
        await self.clock.sleep(ANSWER_AFTER)
        return {"object": "api_key", "id": key.id, "deleted": True}
