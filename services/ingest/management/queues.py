"""Queues (R21): shown as the routers told them last; stopped, resumed and flushed by records that every router reads.

A project's key stops and sends its own mail, an admin key everybody's. Each of them is an event of the account.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.events import QueueChange, QueueFlushed, QueuePaused, QueueResumed
from schemas.routing import QueueFlush, QueuePause
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.queues import (
    MAX_CONTROLS,
    Filters,
    Place,
    check_nothing_more,
    depths,
    nothing_at,
    page_of,
    queue_shown,
    read_filters,
    read_place,
    read_reason,
    with_paused,
)
from services.ingest.domain.versions import INSTALLATION, owner_of
from services.ingest.ports import AccountEvents, Observed, QueueControls

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ManageQueues:
    clock: Clock
    controls: QueueControls
    observed: Observed
    events: AccountEvents

    def page(self, caller: Caller, query: Mapping[str, str], page: PageRequest) -> tuple[list[Shown], str | None]:
        """Raises Refused (422)."""
        filters = read_filters(query)
        pauses = self.controls.pauses(_seen_by(caller))
        found, cursor = page_of(with_paused(depths(self.observed.queues(), filters), pauses, filters), page)
        return [queue_shown(depth, pauses) for depth in found], cursor

    def show(self, caller: Caller, name: str, query: Mapping[str, str]) -> Shown:
        """Every name is a queue; where nothing waits it is empty. Raises Refused (422)."""
        return self._shown(caller, read_place(name, query, {}))

    async def pause(self, caller: Caller, name: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Shown:
        """A repeat says the reason anew. Raises Refused, LogUnavailable."""
        place, reason, owner = read_place(name, query, body), read_reason(body), owner_of(caller)
        if self.controls.paused(owner, place) is None and len(self.controls.pauses(frozenset({owner}))) >= MAX_CONTROLS:
            raise Refused("conflict", f"{MAX_CONTROLS} queues are paused already: resume one.")
        now = to_timestamp(self.clock.now_ms())
        pause = QueuePause(
            project_id=owner, kind=place.kind, name=place.name, reason=reason, by=caller.key_id, paused_at=now
        )
        await self.controls.pause(pause)
        return await self._told(caller, place, QueuePaused, reason)

    async def resume(self, caller: Caller, name: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Shown:
        """What is not paused stays as it is. Raises Refused: 409 where another than the caller's project paused it."""
        check_nothing_more(body)
        place, owner = read_place(name, query, body), owner_of(caller)
        pause = self.controls.paused(owner, place)
        if pause is not None:
            await self.controls.resume(owner, place)
            return await self._told(caller, place, QueueResumed, pause.reason)
        if self.controls.paused(INSTALLATION, place) is not None:
            raise Refused("conflict", "It is paused for the whole installation: an admin key resumes it.")
        return self._shown(caller, place)

    async def flush(self, caller: Caller, name: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Shown:
        """What waits there for its next attempt is due at once. Raises Refused, LogUnavailable."""
        check_nothing_more(body)
        place, owner = read_place(name, query, body), owner_of(caller)
        now = to_timestamp(self.clock.now_ms())
        oldest_first = sorted(self.controls.flushes(owner), key=lambda flush: flush.flushed_at)
        for forgotten in oldest_first[: max(0, len(oldest_first) - MAX_CONTROLS + 1)]:
            await self.controls.forget(forgotten)
        flush = QueueFlush(project_id=owner, kind=place.kind, name=place.name, by=caller.key_id, flushed_at=now)
        await self.controls.flush(flush)
        return await self._told(caller, place, QueueFlushed, None)

    def _shown(self, caller: Caller, place: Place) -> Shown:
        filters = Filters(
            kind=place.kind,
            destination=place.name if place.kind == "destination" else None,
            provider_group=place.name if place.kind == "provider_group" else None,
        )
        found = depths(self.observed.queues(), filters).get(place.name) or nothing_at(place)
        return queue_shown(found, self.controls.pauses(_seen_by(caller)))

    async def _told(self, caller: Caller, place: Place, kind: type[QueueChange], reason: str | None) -> Shown:
        """The queue; by then every replica knows what was asked of it, and the account's events say so."""
        applied_at, now_ms = self.clock.monotonic(), self.clock.now_ms()
        event = kind(kind=place.kind, name=place.name, reason=reason, by=caller.key_id)
        await self.events.publish(owner_of(caller), new_id("evt", now_ms), place.name, event, now_ms)
        await self.clock.sleep(max(0.0, applied_at + ANSWER_AFTER - self.clock.monotonic()))
        return self._shown(caller, place)


def _seen_by(caller: Caller) -> frozenset[str]:
    return frozenset({owner_of(caller), INSTALLATION})
