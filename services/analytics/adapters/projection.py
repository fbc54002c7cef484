"""The write side: rows, by columns, into `events_raw`, `webhook_attempts`, `sandbox_mails` and `destinations`; the others follow by their views."""

from collections.abc import Sequence

from chassis.clock import Clock
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.domain.attempts import AttemptRow
from services.analytics.domain.destinations import DestinationRow
from services.analytics.domain.rows import EventRow
from services.analytics.domain.sandbox import SandboxRow
from services.analytics.metrics import INSERT_SECONDS, INSERTS, ROWS
from services.analytics.ports import StoreUnavailable

_Rows = Sequence[EventRow] | Sequence[AttemptRow] | Sequence[SandboxRow] | Sequence[DestinationRow]
_POSITION = ("_topic", "_partition", "_offset")


class ClickHouseProjection:
    """The port `Projection` on ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock) -> None:
        self._clickhouse = clickhouse
        self._clock = clock

    async def insert_events(self, rows: Sequence[EventRow]) -> None:
        await self._insert("events_raw", rows)

    async def insert_attempts(self, rows: Sequence[AttemptRow]) -> None:
        await self._insert("webhook_attempts", rows)

    async def insert_sandbox_mails(self, rows: Sequence[SandboxRow]) -> None:
        await self._insert("sandbox_mails", rows)

    async def insert_destinations(self, rows: Sequence[DestinationRow]) -> None:
        await self._insert("destinations", rows)

    async def _insert(self, table: str, rows: _Rows) -> None:
        """A field of the rows is a column of that name; times go in as the milliseconds that DateTime64(3) counts."""
        columns: dict[str, Sequence[object]] = dict(zip(rows[0]._fields, zip(*rows, strict=True), strict=True))
        if "position" in columns:
            columns |= zip(_POSITION, zip(*columns.pop("position"), strict=True), strict=True)
        started = self._clock.monotonic()
        try:
            await self._clickhouse.insert(table, list(columns), list(columns.values()))
        except StoreUnavailable:
            INSERTS.labels(table, "failed").inc()
            raise
        INSERTS.labels(table, "ok").inc()
        INSERT_SECONDS.labels(table).observe(self._clock.monotonic() - started)
        ROWS.labels(table).inc(len(rows))
