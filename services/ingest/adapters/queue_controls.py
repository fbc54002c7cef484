"""Stopped queues and flushes in their table, as routers read it."""

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import Table
from schemas.envelope import Payload, seal
from schemas.routing import QueueFlush, QueuePause
from services.ingest.domain.queues import Place


class TableQueueControls:
    """See `services.ingest.ports.QueueControls`."""

    def __init__(self, table: Table[Payload], clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def paused(self, owner: str, place: Place) -> QueuePause | None:
        found = self._table.get(_key("pause", owner, place))
        return found if isinstance(found, QueuePause) else None

    def pauses(self, owners: frozenset[str]) -> Sequence[QueuePause]:
        return [c for c in self._table.values() if isinstance(c, QueuePause) and c.project_id in owners]

    def flushes(self, owner: str) -> Sequence[QueueFlush]:
        return [c for c in self._table.values() if isinstance(c, QueueFlush) and c.project_id == owner]

    async def pause(self, pause: QueuePause) -> None:
        await self._put(_key("pause", pause.project_id, Place(pause.kind, pause.name)), pause, pause.project_id)

    async def resume(self, owner: str, place: Place) -> None:
        await self._table.remove(_key("pause", owner, place))

    async def flush(self, flush: QueueFlush) -> None:
        await self._put(_key("flush", flush.project_id, Place(flush.kind, flush.name)), flush, flush.project_id)

    async def forget(self, flush: QueueFlush) -> None:
        await self._table.remove(_key("flush", flush.project_id, Place(flush.kind, flush.name)))

    async def _put(self, key: str, control: Payload, project_id: str) -> None:
        now_ms = self._clock.now_ms()
        envelope = seal(
            control,
            record_id=new_id("rec", now_ms),
            source="ingest",
            subject=key,
            time_ms=now_ms,
            project_id=project_id,
        )
        await self._table.put(key, envelope)


def _key(what: str, owner: str, place: Place) -> str:
    return f"{what}:{owner}:{place.kind}:{place.name}"
