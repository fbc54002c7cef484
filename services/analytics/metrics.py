"""Every number analytics tells of itself."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

ROWS = Counter("analytics_rows_total", "Rows inserted into ClickHouse, by table.", ["table"])
INSERTS = Counter("analytics_inserts_total", "Inserts, by table and result (ok, failed).", ["table", "result"])
INSERT_SECONDS = Histogram("analytics_insert_seconds", "How long an insert took, by table.", ["table"], buckets=_FAST)
QUERY_SECONDS = Histogram("analytics_query_seconds", "How long a read took, by question.", ["query"], buckets=_FAST)
QUERIES_FAILED = Counter("analytics_queries_failed_total", "Reads that ClickHouse did not answer.", ["query"])
LAG = Gauge("analytics_lag_records", "Records behind the end of the assigned partitions.")
BEHIND = Gauge("analytics_behind_seconds", "Age of the newest record of the last insert, when it could be read.")
STORE_UP = Gauge("analytics_clickhouse_up", "1 while the last call of ClickHouse went well.")
