"""What `GET /v1/metrics` counts (R33): a narrow row for each event of a message, by time. The hourly counts go: nobody read them.

Not summed up beforehand: a message counts once in whatever interval, time zone and group it is asked for, and half of the
dimensions have as many values as there are recipients' domains. A row that comes twice changes nothing: what is asked is
always folded by message first, with functions that do not mind (`groupBitOr`, `max`).
"""

# How long it took, where an event says so; -1 where it does not, or is from before these columns.
_COLUMNS = """
ALTER TABLE events_raw
    ADD COLUMN IF NOT EXISTS first_attempt_ms Int32 DEFAULT -1,
    ADD COLUMN IF NOT EXISTS delivered_ms Int32 DEFAULT -1
"""

# `message` is a hash: two of ten million messages share one in three of a million cases. `happened` has one bit for each
# count of the API, in their order (domain/metrics.py).
_TABLE = """
CREATE TABLE IF NOT EXISTS metric_events (
    project_id LowCardinality(String),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    message UInt64,
    happened UInt16,
    created_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    recipient_domain LowCardinality(String),
    tags Array(LowCardinality(String)),
    template LowCardinality(String),
    channel LowCardinality(String),
    priority LowCardinality(String),
    path LowCardinality(String),
    category LowCardinality(String),
    environment LowCardinality(String),
    first_attempt_ms Int32,
    delivered_ms Int32
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (project_id, time, message, happened)
"""

_OF_EVENTS = """
SELECT
    project_id,
    event_time AS time,
    sipHash64(subject) AS message,
    transform(
        toString(event_type),
        [
            'message.queued', 'message.accepted', 'message.delivered', 'message.deferred', 'message.bounced',
            'message.suppressed', 'message.cancelled', 'message.expired', 'message.unknown', 'message.complained',
            'message.unsubscribed'
        ],
        [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
        0
    ) AS happened,
    created_at,
    recipient_domain,
    tags,
    template,
    channel,
    priority,
    path,
    category,
    environment,
    first_attempt_ms,
    delivered_ms
FROM events_raw
WHERE happened > 0
"""

# Which provider is behind a domain, as senders found out last.
_DESTINATIONS = """
CREATE TABLE IF NOT EXISTS destinations (
    destination String,
    provider_group LowCardinality(String),
    resolved_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(resolved_at)
ORDER BY destination
"""

STATEMENTS = (
    _COLUMNS,
    _TABLE,
    _DESTINATIONS,
    f"CREATE MATERIALIZED VIEW IF NOT EXISTS metric_events_from_events TO metric_events AS {_OF_EVENTS}",
    f"INSERT INTO metric_events {_OF_EVENTS}",  # what was there before; rows that the view has made, too, are replaced
    "DROP VIEW IF EXISTS hourly_from_events",
    "DROP TABLE IF EXISTS events_hourly",
)
