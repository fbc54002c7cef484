"""How far up the log a message's row reaches: the position at which the ledger compares (R37)."""

_COLUMNS = """
ALTER TABLE messages
    ADD COLUMN IF NOT EXISTS _partition SimpleAggregateFunction(max, UInt16),
    ADD COLUMN IF NOT EXISTS _offset SimpleAggregateFunction(max, UInt64)
"""

_FEED = """
ALTER TABLE messages_from_events MODIFY QUERY
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
    ) AS outcome,
    _partition,
    _offset
FROM events_raw
WHERE startsWith(event_type, 'message.')
"""

STATEMENTS = (_COLUMNS, _FEED)
