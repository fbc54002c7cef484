"""Messages that have failed for good, apart from all others: a few, that are asked for by why they failed (R29).

A row says how a message ended, or as what it was sent once more; those of one message are merged. It is read by GROUP BY,
never with FINAL: `last` is one tuple (m0001_tables.py says why), and only what has all of it says how it ended.
"""

_TABLE = """
CREATE TABLE IF NOT EXISTS dead_letters (
    project_id LowCardinality(String),
    message_id String,
    recipient SimpleAggregateFunction(max, String) CODEC(ZSTD),
    recipient_domain SimpleAggregateFunction(max, String) CODEC(ZSTD),
    environment SimpleAggregateFunction(max, String),
    tags SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD),
    last SimpleAggregateFunction(max, Tuple(
        sequence UInt32,
        status String,
        time Int64,
        cause String,
        category String,
        code UInt16,
        enhanced_code String,
        reply String,
        path String,
        mx_host String
    )) CODEC(ZSTD),
    redriven_as SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD),
    touched_at SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY (project_id, message_id DESC)
SETTINGS index_granularity = 1024, allow_experimental_reverse_key = 1
"""

# How it ended; and where it ended otherwise after all, which takes at least four events: then it is no dead letter.
_ENDS = """
CREATE MATERIALIZED VIEW IF NOT EXISTS dead_letters_from_events TO dead_letters AS
SELECT
    project_id,
    subject AS message_id,
    recipient,
    recipient_domain,
    environment,
    tags,
    tuple(
        sequence,
        toString(status),
        toUnixTimestamp64Milli(event_time),
        multiIf(
            status = 'expired', 'expired',
            JSONExtractString(event, 'data', 'feedback', 'kind') != '', 'feedback',
            JSONExtractString(event, 'data', 'gave_up') != '', JSONExtractString(event, 'data', 'gave_up'),
            'refused'
        ),
        toString(category),
        code,
        toString(enhanced_code),
        reply,
        JSONExtractString(event, 'data', 'attempt', 'path'),
        JSONExtractString(event, 'data', 'attempt', 'mx_host')
    ) AS last,
    event_time AS touched_at
FROM events_raw
WHERE event_type IN ('message.bounced', 'message.expired')
    OR (event_type IN ('message.delivered', 'message.suppressed', 'message.cancelled') AND sequence > 3)
"""

_REDRIVES = """
CREATE MATERIALIZED VIEW IF NOT EXISTS redrives_from_events TO dead_letters AS
SELECT
    project_id,
    JSONExtractString(event, 'data', 'redrive_of') AS message_id,
    [subject] AS redriven_as,
    event_time AS touched_at
FROM events_raw
WHERE event_type = 'message.queued' AND position(event, '"redrive_of":"') > 0
"""

STATEMENTS = (_TABLE, _ENDS, _REDRIVES)
