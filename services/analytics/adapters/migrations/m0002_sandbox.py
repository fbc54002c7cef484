"""The sandbox's inbox."""

# One row per mail: of several attempts that each left a copy the last one counts.
_SANDBOX = """
CREATE TABLE IF NOT EXISTS sandbox_mails (
    project_id LowCardinality(String),
    message_id String,
    taken_at DateTime64(3, 'UTC'),
    recipient String CODEC(ZSTD),
    mail_from String CODEC(ZSTD),
    mail_subject String CODEC(ZSTD),
    attempt UInt16,
    outcome LowCardinality(String),
    size UInt32,
    truncated Bool,
    mime String CODEC(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64,
    _ingested_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(attempt)
PARTITION BY toYYYYMM(taken_at)
ORDER BY (project_id, message_id DESC)
SETTINGS index_granularity = 1024, allow_experimental_reverse_key = 1
"""

STATEMENTS = (_SANDBOX,)
