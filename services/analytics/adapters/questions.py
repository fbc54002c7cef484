"""The one place that asks ClickHouse. Every value is bound by the server, and what is shown is of one project (`select`).

Rows that were inserted twice must never show: what is counted or ordered is read merged (FINAL), or one row per id.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chassis.clock import Clock
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.metrics import QUERIES_FAILED, QUERY_SECONDS
from services.analytics.ports import StoreUnavailable

Conditions = list[str]
Values = dict[str, object]


class Questions:
    """Asks within a deadline, and counts by the question's name."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock, *, deadline: float) -> None:
        self._clickhouse = clickhouse
        self._clock = clock
        self._deadline = deadline  # seconds

    async def ask(self, name: str, statement: str, project_id: str, values: Values) -> list[tuple[Any, ...]]:
        """Rows. Raises StoreUnavailable."""
        started = self._clock.monotonic()
        try:
            rows = await self._clickhouse.query(statement, {"project": project_id, **values}, within=self._deadline)
        except StoreUnavailable:
            QUERIES_FAILED.labels(name).inc()
            raise
        QUERY_SECONDS.labels(name).observe(self._clock.monotonic() - started)
        return rows


def select(columns: str, source: str, conditions: Conditions, tail: str = "", *, where: str = "WHERE") -> str:
    """A SELECT of one project: the one place where tenants are kept apart.

    Where all conditions are on the sorting key, `where` may be PREWHERE: rows are left out before they are merged, which
    is the same only because rows that merge have the same key.
    """
    found = " AND ".join(["project_id = {project:String}", *conditions])
    return f"SELECT {columns} FROM {source} {where} {found} {tail}"  # noqa: S608  # words of this module: values are bound


def tuple_parts(position: Any) -> Sequence[Any]:
    """A tuple as the server, or the embedded engine, gives it."""
    return list(position.values()) if isinstance(position, Mapping) else list(position)
