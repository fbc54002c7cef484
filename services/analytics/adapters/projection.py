"""The write side: rows, by columns, into `events_raw` and `webhook_attempts`; the other tables follow by their views."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, assert_never

from chassis.clock import Clock
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.domain.rows import AttemptRow, EventRow, Run
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
    ),
    "metadata": lambda row: row.metadata or {},
}  # fmt: skip
_ATTEMPT_COLUMNS = _columns("project_id", "endpoint_id", "at", "attempt_id", "attempt")


class ClickHouseProjection:
    """The port `Projection` on ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, clock: Clock, *, deadline: float) -> None:
        self._clickhouse = clickhouse
        self._clock = clock
        self._deadline = deadline

    async def insert(self, run: Run[EventRow] | Run[AttemptRow]) -> None:
        table, columns = _target(run)
        values: Sequence[Sequence[object]] = [[read(row) for row in run.rows] for read in columns.values()]
        started = self._clock.monotonic()
        try:
            await self._clickhouse.insert(table, list(columns), values, run.token)
        except StoreUnavailable:
            INSERTS.labels(table, "failed").inc()
            raise
        INSERTS.labels(table, "ok").inc()
        INSERT_SECONDS.labels(table).observe(self._clock.monotonic() - started)
        ROWS.labels(table).inc(len(run.rows))

    async def last_offset(self, topic: str, partition: int, start: int) -> int | None:
        # A topic goes to one of the two tables; the other has no row of it, and its index says so at once.
        found = await self._clickhouse.query(
            """
            SELECT max(last), sum(found) FROM (
                SELECT max(_offset) AS last, count() AS found FROM events_raw
                WHERE _topic = {topic:String} AND _partition = {partition:UInt16} AND _offset >= {start:UInt64}
                UNION ALL
                SELECT max(_offset) AS last, count() AS found FROM webhook_attempts
                WHERE _topic = {topic:String} AND _partition = {partition:UInt16} AND _offset >= {start:UInt64}
            )
            """,
            {"topic": topic, "partition": partition, "start": start},
            within=self._deadline,
        )
        last, rows = found[0]
        return int(last) if rows else None


def _target(run: Run[EventRow] | Run[AttemptRow]) -> tuple[str, _Columns]:
    match run.rows[0]:
        case EventRow():
            return "events_raw", _EVENT_COLUMNS
        case AttemptRow():
            return "webhook_attempts", _ATTEMPT_COLUMNS
        case row:
            assert_never(row)
