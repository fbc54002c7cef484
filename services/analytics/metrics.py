"""Every number analytics tells of itself."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

ROWS = Counter("analytics_rows_total", "Rows inserted into ClickHouse, by table.", ["table"])
INSERTS = Counter("analytics_inserts_total", "Inserts, by table and result (ok, failed).", ["table", "result"])
INSERT_SECONDS = Histogram("analytics_insert_seconds", "How long an insert took, by table.", ["table"], buckets=_FAST)
QUERY_SECONDS = Histogram("analytics_query_seconds", "How long a read took, by question.", ["query"], buckets=_FAST)
QUERIES_FAILED = Counter("analytics_queries_failed_total", "Reads that ClickHouse did not answer.", ["query"])
LAG = Gauge("analytics_lag_records", "Records behind the end of the assigned partitions.")
BEHIND = Gauge(
    "analytics_behind_seconds",
    "Age of the newest record of the last insert, when it could be read, or of the oldest that waits.",
)
STREAMS = Gauge("analytics_event_streams", "Event streams that are open (R35).")
STORE_UP = Gauge("analytics_clickhouse_up", "1 while the last call of ClickHouse went well.")
ALERTS_TOLD = Counter("analytics_alerts_told_total", "Alerts that were raised or resolved, by type (R34).", ["type"])
ALERTS_LOOKED_AT = Gauge("analytics_alerts_looked_at_timestamp_seconds", "As of when rules were judged (Unix time).")
ALERTS_SECONDS = Histogram("analytics_alerts_look_seconds", "How long a look at all rules took.", buckets=_FAST)
# The names that alert rules know, whichever service counts.
LEDGER_DRIFT = Gauge("sendarix_ledger_drift", "Messages that ClickHouse and the log have otherwise, by hour.", ["hour"])
LEDGER_HOURS = Gauge("sendarix_ledger_drifting_hours", "Hours of acceptance that drift.")
LEDGER_MISSING = Gauge("sendarix_ledger_missing", "Messages that were accepted and have no event.")
LEDGER_COMPARED = Gauge("sendarix_ledger_compared_timestamp_seconds", "When both sides were last compared (Unix time).")
