"""What messages are looked for by: one table of what lasts, one of what changes (R30, docs/adr/0010).

Both are sorted as `messages` is, so a page is read from its newest end and no further than it is long. A row says what may
be an answer; what is one, the merged row decides.
"""

# What the events say of it; rows from before these columns are read from the event itself.
_COLUMNS = """
ALTER TABLE events_raw
    ADD COLUMN IF NOT EXISTS template LowCardinality(String) DEFAULT JSONExtractString(event, 'data', 'template'),
    ADD COLUMN IF NOT EXISTS channel LowCardinality(String) DEFAULT JSONExtractString(event, 'data', 'channel'),
    ADD COLUMN IF NOT EXISTS priority LowCardinality(String) DEFAULT JSONExtractString(event, 'data', 'priority'),
    ADD COLUMN IF NOT EXISTS path LowCardinality(String) DEFAULT if(
        event_type = 'message.accepted',
        JSONExtractString(event, 'data', 'path'),
        JSONExtractString(event, 'data', 'attempt', 'path')
    )
"""

# What stands fast from acceptance on, from `message.queued` alone: one row per message, whole from the first.
# Each value that can be asked for is a term; a key of metadata goes with its length, so that no other can look like it.
# `terms` finds whole terms, `subjects` parts of a subject by three characters each; both are inverted indexes: a rare
# value is found where it is, a common one is not read to its end.
_FACTS = """
CREATE TABLE IF NOT EXISTS message_facts (
    project_id LowCardinality(String),
    message_id String,
    created_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    terms Array(String) CODEC(ZSTD),
    lowered_subject String CODEC(ZSTD),
    template LowCardinality(String),
    channel LowCardinality(String),
    environment LowCardinality(String),
    INDEX terms terms TYPE text(tokenizer = 'array'),
    INDEX subjects lowered_subject TYPE text(tokenizer = ngrams(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (project_id, message_id DESC)
SETTINGS index_granularity = 1024, allow_experimental_reverse_key = 1
"""

_FACTS_OF_EVENTS = """
SELECT
    project_id,
    subject AS message_id,
    created_at,
    arrayDistinct(arrayConcat(
        [
            concat('recipient=', lowerUTF8(recipient)),
            concat('recipient_domain=', recipient_domain),
            concat('from=', mail_from_address),
            concat('template=', template),
            concat('channel=', channel)
        ],
        arrayMap(tag -> concat('tag=', tag), tags),
        arrayMap(
            (key, value) -> concat('metadata ', toString(length(key)), ' ', key, '=', value),
            mapKeys(metadata),
            mapValues(metadata)
        )
    )) AS terms,
    lowerUTF8(mail_subject) AS lowered_subject,
    template,
    channel,
    environment
FROM events_raw
WHERE event_type = 'message.queued'
"""

# What changes, each behind the ten digits of its sequence: the highest is the latest, and "" where an event says nothing
# of it. The indexes tell of a thousand rows what they have: what few messages are at is not looked for among the others.
# They are on whole columns: an expression is computed before the rows of one insert are folded, and would be the first row's.
_STATES = """
CREATE TABLE IF NOT EXISTS message_states (
    project_id LowCardinality(String),
    message_id String,
    created_at SimpleAggregateFunction(any, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    status_at SimpleAggregateFunction(max, String) CODEC(ZSTD),
    category_at SimpleAggregateFunction(max, String) CODEC(ZSTD),
    path_at SimpleAggregateFunction(max, String) CODEC(ZSTD),
    INDEX statuses status_at TYPE set(0) GRANULARITY 1,
    INDEX categories category_at TYPE set(0) GRANULARITY 1,
    INDEX paths path_at TYPE set(0) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (project_id, message_id DESC)
SETTINGS index_granularity = 1024, allow_experimental_reverse_key = 1
"""

_STATES_OF_EVENTS = """
WITH leftPad(toString(sequence), 10, '0') AS place
SELECT
    project_id,
    subject AS message_id,
    created_at,
    concat(place, status) AS status_at,
    if(category = '', '', concat(place, category)) AS category_at,
    if(path = '', '', concat(place, path)) AS path_at
FROM events_raw
WHERE startsWith(event_type, 'message.')
"""

STATEMENTS = (
    _COLUMNS,
    _FACTS,
    _STATES,
    f"CREATE MATERIALIZED VIEW IF NOT EXISTS facts_from_events TO message_facts AS {_FACTS_OF_EVENTS}",
    f"CREATE MATERIALIZED VIEW IF NOT EXISTS states_from_events TO message_states AS {_STATES_OF_EVENTS}",
    # What was there before. A second time, or beside the views, it makes rows that are there already.
    f"INSERT INTO message_facts {_FACTS_OF_EVENTS}",
    f"INSERT INTO message_states {_STATES_OF_EVENTS}",
)
