"""The tables, as migrations: each is applied once, in order, and may be applied again without harm.

What is counted is a `uniq` state, never a `count`: a row that comes twice is counted once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.analytics.adapters.migrations import (
    m0001_tables,
    m0002_sandbox,
    m0003_search,
    m0004_metrics,
    m0005_ledger,
    m0006_dead_letters,
    m0007_compact_parts,
    m0008_one_index,
    m0009_rows_apart,
)

HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migrations (name String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = MergeTree ORDER BY name
"""


# What a row's age is counted from.
_AGE_OF = {
    "events_raw": "event_time",
    "messages": "created_at",
    "metric_events": "time",
    "message_index": "created_at",
    "webhook_attempts": "at",
    "sandbox_mails": "taken_at",
    "dead_letters": "touched_at",
}


@dataclass(frozen=True, slots=True)
class Migration:
    """Applied once; its name is written down when all its statements have run."""

    name: str
    statements: Sequence[str]


MIGRATIONS: Sequence[Migration] = (
    Migration("0001_tables", m0001_tables.STATEMENTS),
    Migration("0002_sandbox", m0002_sandbox.STATEMENTS),
    Migration("0003_search", m0003_search.STATEMENTS),
    Migration("0004_metrics", m0004_metrics.STATEMENTS),
    Migration("0005_ledger", m0005_ledger.STATEMENTS),
    Migration("0006_dead_letters", m0006_dead_letters.STATEMENTS),
    Migration("0007_compact_parts", m0007_compact_parts.STATEMENTS),
    Migration("0008_one_index", m0008_one_index.STATEMENTS),
    Migration("0009_rows_apart", m0009_rows_apart.STATEMENTS),
)


def retention(*, events: timedelta, attempts: timedelta, sandbox: timedelta) -> Sequence[str]:
    """Set how long rows are kept. Applied at each start: it costs nothing where it is set so already."""
    kept = dict.fromkeys(_AGE_OF, events) | {"webhook_attempts": attempts, "sandbox_mails": sandbox}
    return [
        f"ALTER TABLE {table} MODIFY TTL toDateTime({_AGE_OF[table]}) + toIntervalSecond({int(span.total_seconds())})"
        # Parts that are there are not rewritten for it: they take the new limit with their next merge.
        " SETTINGS materialize_ttl_after_modify = 0"
        for table, span in kept.items()
    ]
