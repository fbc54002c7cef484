"""Routes, upstreams and policies in their tables: by whose they are, the deleted ones apart, newest first."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from typing import Generic, TypeVar

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import Table
from schemas.envelope import seal
from schemas.routing import Versioned
from services.ingest.domain.pages import PageRequest, Position, cursor_of
from services.ingest.domain.versions import INSTALLATION

V = TypeVar("V", bound=Versioned)


class TableVersions(Generic[V]):
    """See `services.ingest.ports.Versions`."""

    def __init__(self, table: Table[V], clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._live: defaultdict[str, list[Position]] = defaultdict(list)  # by owner
        self._deleted: defaultdict[str, list[Position]] = defaultdict(list)  # by time of deletion
        table.on_change(self._changed)

    def find(self, owner: str, entity_id: str) -> V | None:
        found = self._table.get(entity_id)
        return found if found is not None and found.project_id == owner else None

    def live(self, owner: str) -> Sequence[V]:
        return [self._table[key] for _, key in self._live.get(owner, ())]

    def all_live(self) -> Sequence[V]:
        return [entity for entity in self._table.values() if entity.deleted_at is None]

    def deleted(self, owner: str) -> Sequence[V]:
        return [self._table[key] for _, key in self._deleted.get(owner, ())]

    def page(self, owner: str, page: PageRequest) -> tuple[Sequence[V], str | None]:
        owners = {owner, INSTALLATION}
        order = sorted(position for name in owners for position in self._live.get(name, ()))
        end = len(order) if page.after is None else bisect_left(order, page.after)
        begin = max(0, end - page.limit)
        found = [self._table[key] for _, key in reversed(order[begin:end])]
        return found, cursor_of(order[begin]) if begin > 0 else None

    async def put(self, entity: V) -> None:
        now_ms = self._clock.now_ms()
        envelope = seal(
            entity,
            record_id=new_id("rec", now_ms),
            source="ingest",
            subject=entity.id,
            time_ms=now_ms,
            project_id=entity.project_id,
        )
        await self._table.put(entity.id, envelope)

    async def remove(self, entity_id: str) -> None:
        await self._table.remove(entity_id)

    def _changed(self, key: str, before: V | None, after: V | None) -> None:
        if before is not None:
            order, position = self._place(key, before)
            del order[bisect_left(order, position)]
        if after is not None:
            order, position = self._place(key, after)
            insort(order, position)

    def _place(self, key: str, entity: V) -> tuple[list[Position], Position]:
        """The list it stands in, and where."""
        if entity.deleted_at is None:
            return self._live[entity.project_id], (entity.created_at, key)
        return self._deleted[entity.project_id], (entity.deleted_at, key)
