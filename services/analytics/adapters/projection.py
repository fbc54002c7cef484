"""The write side: rows, by columns, into `events_raw`, `webhook_attempts`, `sandbox_mails` and `destinations`; the others follow by their views."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from chassis.clock import Clock
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.domain.attempts import AttemptRow
from services.analytics.domain.destinations import DestinationRow
from services.analytics.domain.rows import EventRow
from services.analytics.domain.sandbox import SandboxRow
from services.analytics.metrics import INSERT_SECONDS, INSERTS, ROWS
from services.analytics.ports import StoreUnavailable

_Columns = Mapping[str, Callable[[Any], object]]
_POSITION: _Columns = {
    "_topic": attrgetter("position.topic"),
    "_partition": attrgetter("position.partition"),
    "_offset": attrgetter("position.offset"),
}


def _columns(*names: str) -> _Columns:
    return {**{name: attrgetter(name) for name in names}, **_POSITION}


# Times go in as the milliseconds they are: that is what DateTime64(3) counts.
_EVENT_COLUMNS: _Columns = {
    **_columns(
        "project_id", "event_type", "event_time", "event_id", "subject", "sequence", "event", "created_at",
        "environment", "recipient", "recipient_domain", "status", "mail_from", "mail_from_address", "mail_subject",
        "tags", "attempt", "category", "code", "enhanced_code", "reply", "reason", "next_attempt_at",
        "template", "channel", "priority", "path", "first_attempt_ms", "delivered_ms",
    ),
    "metadata": lambda row: row.metadata or {},
}  # fmt: skip
_ATTEMPT_COLUMNS = _columns("project_id", "endpoint_id", "at", "attempt_id", "attempt")
_SANDBOX_COLUMNS = _columns(
    "project_id", "message_id", "taken_at", "recipient", "mail_from", "mail_subject", "attempt", "outcome", "size",
    "truncated", "mime",
)  # fmt: skip
_DESTINATION_COLUMNS: _Columns = {name: attrgetter(name) for name in ("destination", "provider_group", "resolved_at")}


class ClickHouseProjection:
    """The port `Projection` on ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock) -> None:
        self._clickhouse = clickhouse
        self._clock = clock

    async def insert_events(self, rows: Sequence[EventRow]) -> None:
        await self._insert("events_raw", _EVENT_COLUMNS, rows)

    async def insert_attempts(self, rows: Sequence[AttemptRow]) -> None:
        await self._insert("webhook_attempts", _ATTEMPT_COLUMNS, rows)

    async def insert_sandbox_mails(self, rows: Sequence[SandboxRow]) -> None:
        await self._insert("sandbox_mails", _SANDBOX_COLUMNS, rows)

    async def insert_destinations(self, rows: Sequence[DestinationRow]) -> None:
        await self._insert("destinations", _DESTINATION_COLUMNS, rows)

    async def _insert(self, table: str, columns: _Columns, rows: Sequence[object]) -> None:
        values: Sequence[Sequence[object]] = [[read(row) for row in rows] for read in columns.values()]
        started = self._clock.monotonic()
        try:
            await self._clickhouse.insert(table, list(columns), values)
        except StoreUnavailable:
            INSERTS.labels(table, "failed").inc()
            raise
        INSERTS.labels(table, "ok").inc()
        INSERT_SECONDS.labels(table).observe(self._clock.monotonic() - started)
        ROWS.labels(table).inc(len(rows))
