"""What changing a route, an upstream, a policy or an alert has in common (R20): versions, the way back, and the event of each change.

A project changes its own and sees the installation's; admin keys change those. Of two changes at the same moment, at two
replicas, the last in the log stands. The event follows the change: where the answer is 503, it may be missing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.events import RoutingChange
from schemas.routing import Versioned
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.versions import (
    INSTALLATION,
    MAX_DELETED,
    MAX_ENTITIES,
    changed,
    frame,
    owner_of,
    undone,
)
from services.ingest.ports import AccountEvents, Versions

Shown = dict[str, Any]
V = TypeVar("V", bound=Versioned)
Check = Callable[[V], None]  # of what is about to be written; raises Refused


@dataclass(frozen=True, slots=True)
class Kept(Generic[V]):
    """One kind of them. `shown`: as the API and events show it, without secrets."""

    clock: Clock
    entities: Versions[V]
    events: AccountEvents
    kind: type[V]
    event: type[RoutingChange]
    noun: str
    prefix: str
    shown: Callable[[V], Shown]
    most: int | None = None  # of an owner; None: as of most kinds
    # One change at a time in this process, so that none is made from what another is replacing.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.entities.page(owner_of(caller), page)
        return [self.shown(entity) for entity in found], cursor

    def show(self, caller: Caller, entity_id: str) -> Shown:
        found = self._seen(caller, entity_id)
        if found is None:
            raise self._missing()
        return self.shown(found)

    async def create(self, caller: Caller, content: dict[str, Any]) -> Shown:
        """Raises Refused, LogUnavailable."""
        owner = owner_of(caller)
        async with self.turn:
            self._check_room(owner)
            now_ms = self.clock.now_ms()
            first = frame(new_id(self.prefix, now_ms), owner, caller.key_id, to_timestamp(now_ms))
            made = self.kind.model_validate(content | first)
            await self.entities.put(made)
        return await self._told(caller, None, made, "created")

    async def change(self, caller: Caller, entity_id: str, content: Callable[[V], dict[str, Any]]) -> Shown:
        """`content` says what it becomes, from what it is. Raises Refused, LogUnavailable."""
        async with self.turn:
            before = self.own(caller, entity_id)
            after = changed(before, content(before), caller.key_id, self._now())
            await self.entities.put(after)
        return await self._told(caller, before, after, "changed")

    async def delete(self, caller: Caller, entity_id: str, check: Check[V] | None = None) -> Shown:
        async with self.turn:
            before = self.own(caller, entity_id)
            now = self._now()
            after = changed(before, {"deleted_at": now}, caller.key_id, now)
            if check is not None:
                check(after)
            await self.entities.put(after)
            for forgotten in self.entities.deleted(before.project_id)[:-MAX_DELETED]:
                await self.entities.remove(forgotten.id)
        await self._told(caller, before, after, "deleted")
        return {"object": self.noun, "id": before.id, "deleted": True}

    async def undo(self, caller: Caller, entity_id: str, check: Check[V]) -> Shown:
        """Also of a deletion; the answer to an undo that deletes is that of a deletion."""
        async with self.turn:
            before = self.entities.find(owner_of(caller), entity_id)
            if before is None:
                raise self._not_own(caller, entity_id)
            after = undone(before, caller.key_id, self._now())
            if before.deleted_at is not None and after.deleted_at is None:
                self._check_room(before.project_id)
            check(after)
            await self.entities.put(after)
        shown = await self._told(caller, before, after, "undone")
        return shown if after.deleted_at is None else {"object": self.noun, "id": after.id, "deleted": True}

    def own(self, caller: Caller, entity_id: str) -> V:
        """To be changed. Raises Refused: 403 for the installation's, 404 for what is not there, or another's."""
        found = self.entities.find(owner_of(caller), entity_id)
        if found is None or found.deleted_at is not None:
            raise self._not_own(caller, entity_id)
        return found

    def _seen(self, caller: Caller, entity_id: str) -> V | None:
        owner = owner_of(caller)
        found = self.entities.find(owner, entity_id) or self.entities.find(INSTALLATION, entity_id)
        return found if found is not None and found.deleted_at is None else None

    def _check_room(self, owner: str) -> None:
        most = MAX_ENTITIES if self.most is None else self.most
        if len(self.entities.live(owner)) >= most:
            raise Refused("conflict", f"There are {most} of them already: delete one.")

    def _not_own(self, caller: Caller, entity_id: str) -> Refused:
        if self._seen(caller, entity_id) is None:
            return self._missing()
        return Refused("insufficient_scope", f"This {self.noun} is the installation's: an admin key changes it.")

    def _missing(self) -> Refused:
        return Refused("not_found", f"There is no such {self.noun}.")

    async def _told(self, caller: Caller, before: V | None, after: V, change: Any) -> Shown:
        """What it is now; by then every replica goes by it, and the account's events say so."""
        applied_at = self.clock.monotonic()
        now_ms = self.clock.now_ms()
        event = self.event(
            id=after.id,
            name=after.name,
            version=after.version,
            change=change,
            before=self._as_told(before),
            after=self._as_told(after),
            by=caller.key_id,
        )
        await self.events.publish(after.project_id, new_id("evt", now_ms), after.id, event, now_ms)
        await self.clock.sleep(max(0.0, applied_at + ANSWER_AFTER - self.clock.monotonic()))
        return self.shown(after)

    def _as_told(self, entity: V | None) -> Shown | None:
        return None if entity is None or entity.deleted_at is not None else self.shown(entity)

    def _now(self) -> str:
        return to_timestamp(self.clock.now_ms())
