"""Events, messages, hourly counts and webhook attempts: the first tables, and the views that fill them."""

# Pages and timelines are few rows from many places: small granules, or most of what is read is thrown away.
_POINT_READS = "index_granularity = 1024"
# Where the server still asks for it (before 26), a key may descend only with this.
_DESCENDING = "allow_experimental_reverse_key = 1"

# Every event as it stands in Kafka, beside the columns that questions are asked of.
# - Sorted by subject: the timeline of a message is one range; ids rise with time, so a range of time is one as well.
# - An event that the router emitted twice stands at two offsets: the first one counts (`_precedence`), so that it
#   never moves to a later place in the feed.
# - The index on the log position finds what lies behind a feed's cursor, and the end of each partition.
_EVENTS = f"""
CREATE TABLE IF NOT EXISTS events_raw (
    project_id LowCardinality(String),
    event_type LowCardinality(String),
    event_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    event_id String,
    subject String,
    sequence UInt32,
    created_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    environment LowCardinality(String),
    recipient String CODEC(ZSTD),
    recipient_domain LowCardinality(String),
    status LowCardinality(String),
    mail_from String CODEC(ZSTD),
    mail_from_address String CODEC(ZSTD),
    mail_subject String CODEC(ZSTD),
    tags Array(LowCardinality(String)),
    metadata Map(String, String) CODEC(ZSTD),
    attempt UInt16,
    category LowCardinality(String),
    code UInt16,
    enhanced_code LowCardinality(String),
    reply String CODEC(ZSTD),
    reason LowCardinality(String),
    next_attempt_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    event String CODEC(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _ingested_at DateTime64(3, 'UTC') DEFAULT now64(3),
    _precedence UInt64 MATERIALIZED bitNot(_offset),
    INDEX log_position (_topic, _partition, _offset) TYPE minmax GRANULARITY 1,
    INDEX event_times event_time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(_precedence)
PARTITION BY toYYYYMM(event_time)
ORDER BY (project_id, subject, sequence, event_id)
SETTINGS {_POINT_READS}
"""

# One row per message as of its latest event. What every event of a message repeats is taken from any of them; sender
# and subject come with `message.queued` alone, so they win over ""; the rest goes by `sequence`, which stands first in
# its tuple.
# A tuple is only ever read whole: under FINAL its subcolumns (`latest.status`, and what the optimizer turns into one)
# are not aggregated, the first row's would show. What is filtered by is a column of its own: `status_at` is the
# sequence in ten digits and the status, so the highest is the latest.
_MESSAGES = f"""
CREATE TABLE IF NOT EXISTS messages (
    project_id LowCardinality(String),
    message_id String,
    created_at SimpleAggregateFunction(any, DateTime64(3, 'UTC')),
    recipient SimpleAggregateFunction(any, String) CODEC(ZSTD),
    recipient_domain SimpleAggregateFunction(any, String) CODEC(ZSTD),
    tags SimpleAggregateFunction(any, Array(String)) CODEC(ZSTD),
    metadata SimpleAggregateFunction(any, Map(String, String)) CODEC(ZSTD),
    mail_from SimpleAggregateFunction(max, String) CODEC(ZSTD),
    mail_from_address SimpleAggregateFunction(max, String) CODEC(ZSTD),
    mail_subject SimpleAggregateFunction(max, String) CODEC(ZSTD),
    attempts SimpleAggregateFunction(max, UInt16),
    latest SimpleAggregateFunction(max, Tuple(
        sequence UInt32,
        status String,
        time Int64,
        reason String,
        next_attempt_at Int64
    )),
    status_at SimpleAggregateFunction(max, String),
    outcome SimpleAggregateFunction(max, Tuple(
        sequence UInt32,
        code UInt16,
        enhanced_code String,
        category String,
        reply String
    )) CODEC(ZSTD),
    INDEX recipients lowerUTF8(recipient) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX recipient_domains recipient_domain TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX tags_known tags TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX metadata_values mapValues(metadata) TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (project_id, message_id DESC)
SETTINGS {_POINT_READS}, {_DESCENDING}
"""

_MESSAGES_FEED = """
CREATE MATERIALIZED VIEW IF NOT EXISTS messages_from_events TO messages AS
SELECT
    project_id,
    subject AS message_id,
    created_at,
    recipient,
    recipient_domain,
    tags,
    metadata,
    mail_from,
    mail_from_address,
    mail_subject,
    attempt AS attempts,
    tuple(
        sequence,
        toString(status),
        toUnixTimestamp64Milli(event_time),
        toString(reason),
        toUnixTimestamp64Milli(next_attempt_at)
    ) AS latest,
    concat(leftPad(toString(sequence), 10, '0'), status) AS status_at,
    if(
        attempt > 0,
        tuple(sequence, code, toString(enhanced_code), toString(category), reply),
        tuple(toUInt32(0), toUInt16(0), '', '', '')
    ) AS outcome
FROM events_raw
WHERE startsWith(event_type, 'message.')
"""

# tag '' stands for all tags together: an event with two tags is one event.
_HOURLY = """
CREATE TABLE IF NOT EXISTS events_hourly (
    project_id LowCardinality(String),
    event_type LowCardinality(String),
    hour DateTime('UTC'),
    recipient_domain LowCardinality(String),
    tag LowCardinality(String),
    events AggregateFunction(uniqExact, String)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (project_id, event_type, hour, recipient_domain, tag)
"""

_HOURLY_FEED = """
CREATE MATERIALIZED VIEW IF NOT EXISTS hourly_from_events TO events_hourly AS
SELECT
    project_id,
    event_type,
    toStartOfHour(event_time) AS hour,
    recipient_domain,
    arrayJoin(arrayConcat([''], arrayDistinct(tags))) AS tag,
    uniqExactState(event_id) AS events
FROM events_raw
GROUP BY project_id, event_type, hour, recipient_domain, tag
"""

_WEBHOOK_ATTEMPTS = f"""
CREATE TABLE IF NOT EXISTS webhook_attempts (
    project_id LowCardinality(String),
    endpoint_id String,
    at DateTime64(3, 'UTC'),
    attempt_id String,
    attempt String CODEC(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _ingested_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX log_position (_topic, _partition, _offset) TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(_ingested_at)
PARTITION BY toYYYYMM(at)
ORDER BY (project_id, endpoint_id, at DESC, attempt_id DESC)
SETTINGS {_POINT_READS}, {_DESCENDING}
"""

STATEMENTS = (_EVENTS, _MESSAGES, _HOURLY, _WEBHOOK_ATTEMPTS, _MESSAGES_FEED, _HOURLY_FEED)
