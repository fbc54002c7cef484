"""Entities in compacted tables, by project and newest first: a page costs a binary search, however long the list is."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from typing import Generic, TypeVar

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import Table
from schemas.envelope import seal
from schemas.tables import ApiKey, Domain, Project, Suppression, WebhookEndpoint
from schemas.webhooks import ReplayState
from services.ingest.domain.pages import PageRequest, Position, cursor_of

E = TypeVar("E", ApiKey, Domain, Project, Suppression, WebhookEndpoint, ReplayState)


class TableEntities(Generic[E]):
    """One table, with an index of each project's keys in order of creation."""

    def __init__(self, table: Table[E], clock: Clock) -> None:
        self._table: Table[E] = table
        self._clock = clock
        self._order: defaultdict[str, list[Position]] = defaultdict(list)
        table.on_change(self._changed)

    def get(self, project_id: str, key: str) -> E | None:
        found = self._table.get(key)
        return found if found is not None and _owner_of(found) == project_id else None

    def anyones(self, key: str) -> E | None:
        """By the table's key, whosever it is: for admin keys."""
        return self._table.get(key)

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[E], str | None]:
        order = self._order.get(project_id, [])
        end = len(order) if page.after is None else bisect_left(order, page.after)
        begin = max(0, end - page.limit)
        found = [self._table[key] for _, key in reversed(order[begin:end])]
        return found, cursor_of(order[begin]) if begin > 0 else None

    async def put(self, key: str, entity: E) -> None:
        now_ms = self._clock.now_ms()
        envelope = seal(
            entity,
            record_id=new_id("rec", now_ms),
            source="ingest",
            subject=entity.id,
            time_ms=now_ms,
            project_id=entity.id if isinstance(entity, Project) else entity.project_id,
        )
        await self._table.put(key, envelope)

    async def remove(self, key: str) -> None:
        await self._table.remove(key)

    def _changed(self, key: str, before: E | None, after: E | None) -> None:
        if before is not None:
            order = self._order[_owner_of(before)]
            del order[bisect_left(order, (before.created_at, key))]
            if not order:
                del self._order[_owner_of(before)]
        if after is not None:
            insort(self._order[_owner_of(after)], (after.created_at, key))


def _owner_of(entity: E) -> str:
    """Whose list it stands in: its project's. Projects stand in the installation's, replays in their endpoint's."""
    match entity:
        case Project():
            return ""
        case ReplayState():
            return entity.webhook_id
        case _:
            return entity.project_id
