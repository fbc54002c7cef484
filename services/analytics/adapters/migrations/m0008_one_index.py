"""What messages are looked for by, in one row per message instead of two: conditions meet in the index (R30, docs/adr/0010).

Sorted as `messages` is, so a page is read from its newest end and no further than it is long. A row says what may be an
answer; what is one, the merged row decides.
"""

# - `facts`: what stands fast from acceptance on, of `message.queued` alone. Each value that can be asked for is a term; a
#   key of metadata goes with its length, so that no other can look like it.
# - `status`, `category` and `path` change: each is [the ten digits of its sequence, the value], and empty where an event says
#   nothing of it, so `max` is the latest.
# - `events`: a bit for each sequence that is in the row. A row with a gap is one of several of its message.
# The text indexes find whole values, and three characters of a subject; they are on whole columns: an expression is computed
# before the rows of one insert are folded, and would be the first row's.
# Granules are small: of two conditions that seldom meet, only those are read that have both.
_INDEX = """
CREATE TABLE IF NOT EXISTS message_index (
    project_id LowCardinality(String),
    message_id String,
    created_at SimpleAggregateFunction(any, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    events SimpleAggregateFunction(groupBitOr, UInt64),
    facts SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD),
    lowered_subject SimpleAggregateFunction(max, String) CODEC(ZSTD),
    status SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD),
    category SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD),
    path SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD),
    template SimpleAggregateFunction(max, LowCardinality(String)),
    channel SimpleAggregateFunction(max, LowCardinality(String)),
    environment SimpleAggregateFunction(max, LowCardinality(String)),
    INDEX facts_found facts TYPE text(tokenizer = 'array'),
    INDEX subjects_found lowered_subject TYPE text(tokenizer = ngrams(3)),
    INDEX statuses_found status TYPE text(tokenizer = 'array'),
    INDEX categories_found category TYPE text(tokenizer = 'array'),
    INDEX paths_found path TYPE text(tokenizer = 'array'),
    INDEX events_seen events TYPE set(0) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (project_id, message_id DESC)
SETTINGS index_granularity = 256, allow_experimental_reverse_key = 1
"""

_OF_EVENTS = """
WITH leftPad(toString(sequence), 10, '0') AS place
SELECT
    project_id,
    subject AS message_id,
    created_at,
    bitShiftLeft(toUInt64(1), least(sequence, 64) - 1) AS events,
    if(event_type = 'message.queued', arrayDistinct(arrayConcat(
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
    )), []) AS facts,
    lowerUTF8(mail_subject) AS lowered_subject,
    [place, toString(status)] AS status,
    if(category = '', [], [place, toString(category)]) AS category,
    if(path = '', [], [place, toString(path)]) AS path,
    template,
    channel,
    environment
FROM events_raw
WHERE startsWith(event_type, 'message.')
"""

STATEMENTS = (
    _INDEX,
    f"CREATE MATERIALIZED VIEW IF NOT EXISTS index_from_events TO message_index AS {_OF_EVENTS}",
    # What was there before. A second time, or beside the view, it makes rows that are there already.
    f"INSERT INTO message_index {_OF_EVENTS}",
    "DROP VIEW IF EXISTS facts_from_events",
    "DROP VIEW IF EXISTS states_from_events",
    "DROP TABLE IF EXISTS message_facts",
    "DROP TABLE IF EXISTS message_states",
    # Nothing has been looked for in `messages` itself since 0003.
    *(
        f"ALTER TABLE messages DROP INDEX IF EXISTS {index}"
        for index in ("recipients", "recipient_domains", "tags_known", "metadata_values")
    ),
)
