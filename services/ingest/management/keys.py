"""API keys (R13): made, shown, rotated, revoked. Only a hash is kept; a revocation is answered once it holds everywhere.

Admin keys do it in every project, others in their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.tables import ApiKey
from services.ingest.domain.access import Caller, invalid_key
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.key_requests import (
    KeyRights,
    check_grantable,
    check_manageable,
    key_shown,
    read_key_request,
    read_rotation,
    rights_of,
    unknown_project,
)
from services.ingest.domain.keys import hash_of, new_key
from services.ingest.domain.pages import PageRequest
from services.ingest.ports import ApiKeys, KeyUsage, Senders

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ManageKeys:
    clock: Clock
    keys: ApiKeys
    senders: Senders
    usage: KeyUsage

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """The key's record, with the key itself this once. Raises Refused, LogUnavailable."""
        new = read_key_request(body, caller, self._rights(caller), self.clock.now_ms())
        if self.senders.project(new.project_id) is None:
            raise invalid([unknown_project()])
        return await self._make(new.project_id, new.name, new.rights)

    def page(self, caller: Caller, page: PageRequest, project_id: str | None) -> tuple[list[Shown], str | None]:
        """Of the caller's project; an admin key may name another. Raises Refused (422)."""
        asked = caller.project_id if project_id is None else project_id
        if asked != caller.project_id and (caller.environment != "admin" or self.senders.project(asked) is None):
            raise invalid([unknown_project()])
        found, cursor = self.keys.page(asked, page)
        return [self._shown(key) for key in found], cursor

    def show(self, caller: Caller, key_id: str) -> Shown:
        return self._shown(self._find(caller, key_id))

    async def rotate(self, caller: Caller, key_id: str, body: Mapping[str, Any]) -> Shown:
        """A new key with the same rights; the old one goes on for the overlap. A repeat makes one more."""
        key, overlap = self._find(caller, key_id), read_rotation(body)
        check_grantable(rights_of(key), self._rights(caller))
        now_ms = self.clock.now_ms()
        now = to_timestamp(now_ms)
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            message = "This key was revoked or has expired: make a new one."
            raise invalid([Fault("id", "not_active", message)])
        ends = to_timestamp(now_ms + round(overlap.total_seconds() * 1000))
        old_ends = ends if key.expires_at is None else min(ends, key.expires_at)
        # Without an overlap it is revoked: an expiry would wait for the slowest clock of all replicas.
        change = {"expires_at": old_ends} if overlap else {"revoked_at": now}
        made = await self._make(key.project_id, key.name, rights_of(key), key.requests_per_minute)
        await self._put(key.model_copy(update=change))
        return {**made, "rotated": {"id": key.id, "expires_at": old_ends if overlap else now}}

    async def revoke(self, caller: Caller, key_id: str) -> Shown:
        """Answered when the lease of every reader that did not know it yet has ended."""
        key = self._find(caller, key_id)
        check_manageable(key, self._rights(caller))
        if key.revoked_at is None:
            await self._put(key.model_copy(update={"revoked_at": to_timestamp(self.clock.now_ms())}))
        else:
            await self.clock.sleep(ANSWER_AFTER)  # the first may have been a moment ago, at another replica
        return {"object": "api_key", "id": key.id, "deleted": True}

    async def _make(
        self, project_id: str, name: str, rights: KeyRights, requests_per_minute: int | None = None
    ) -> Shown:
        text = new_key(rights.environment)
        now_ms = self.clock.now_ms()
        key = ApiKey(
            id=new_id("key", now_ms),
            project_id=project_id,
            name=name,
            environment=rights.environment,
            sha256=hash_of(text),
            scopes=list(rights.scopes),
            requests_per_minute=requests_per_minute,
            created_at=to_timestamp(now_ms),
            revoked_at=None,
            expires_at=rights.expires_at,
            from_domains=list(rights.from_domains),
            networks=list(rights.networks),
        )
        await self._put(key)
        return {**self._shown(key), "key": text}

    async def _put(self, key: ApiKey) -> None:
        """Returns when every replica judges by it."""
        await self.keys.put(key.id, key)
        await self.clock.sleep(ANSWER_AFTER)

    def _find(self, caller: Caller, key_id: str) -> ApiKey:
        """Raises Refused (404) for a key that is not, or another's."""
        found = self.keys.anyones(key_id) if caller.environment == "admin" else self.keys.get(caller.project_id, key_id)
        if found is None:
            raise Refused("not_found", "There is no such API key.")
        return found

    def _rights(self, caller: Caller) -> KeyRights:
        """What the caller's own key may do. Raises Refused (401) where it went while we were asked."""
        own = self.keys.get(caller.project_id, caller.key_id)
        if own is None:
            raise invalid_key()
        return rights_of(own)

    def _shown(self, key: ApiKey) -> Shown:
        return key_shown(key, self.usage.last_used(key.id))
