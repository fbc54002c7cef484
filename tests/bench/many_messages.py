"""A read side as it is after weeks: made inside ClickHouse from numbers, through the very views that events go through.

Projects, tags, templates and domains are skewed: the first of each has a good part of all. One outcome in fifty comes in a
later insert than its message, and twice. The same number makes the same message.
"""

from typing import Any

PROJECT = "prj_06GC8M3CFE0000000000000000"  # has a quarter of all mail; 199 others share the rest
_VIEWS = {
    "messages_from_events": "messages",
    "index_from_events": "message_index",
}
_AT_ONCE = 500_000  # messages of one insert
_BOUNDS: dict[str, Any] = {
    "max_threads": 2,
    "max_insert_threads": 1,
    "max_memory_usage": 4_000_000_000,
    "max_block_size": 2 * _AT_ONCE,
    "min_insert_block_size_rows": 2 * _AT_ONCE,
    "min_insert_block_size_bytes": 0,
}

_FIRST_MS, _EACH_MS = 1_788_000_000_000, 210  # of acceptance: 35 million in 85 days

# Chance is a function of the number; ids are as chassis/ids.py makes them, but for their last 48 bits.
_EVENTS = """
INSERT INTO made
    (project_id, event_type, event_time, subject, sequence, created_at, environment, recipient, recipient_domain, status,
     mail_from, mail_from_address, mail_subject, tags, metadata, attempt, category, code, enhanced_code, reply, template,
     channel, path)
WITH
    number AS n, _FIRST_MS_ + n * _EACH_MS_ AS ms, sipHash64(n) AS h,
    (h % 1000000) / 1e6 AS u, (sipHash64(n, 1) % 1000000) / 1e6 AS v, (sipHash64(n, 2) % 1000000) / 1e6 AS w,
    toUInt32(pow((sipHash64(n, 3) % 1000000) / 1e6, 4) * 300) AS tag, toUInt32(pow(w, 4) * 400) AS text,
    base32Encode(unhex(concat(
        leftPad(hex(toUInt64(ms)), 12, '0'), leftPad(hex(h), 16, '0'), leftPad(hex(toUInt32(n)), 8, '0'), '0000'
    ))) AS digits,
    translate(digits, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', '0123456789ABCDEFGHJKMNPQRSTVWXYZ') AS id,
    if(
        v < 0.8,
        ['gmail.com', 'outlook.com', 'yahoo.com', 'web.de', 'gmx.de'][toUInt32(v * v * 7.8) + 1],
        concat('company', toString(toUInt32(pow(w, 3) * 20000)), '.example')
    ) AS domain,
    multiIf(
        n % 1000000 = 999999, 'held', h % 10000 < 9600, 'delivered', h % 10000 < 9800, 'bounced',
        h % 10000 < 9900, 'suppressed', h % 10000 < 9950, 'expired', 'cancelled'
    ) AS ending,
    arrayJoin(_STEPS_) AS step, step = 1 AS first, not first AND ending IN ('delivered', 'bounced', 'expired') AS tried
SELECT
    concat('prj_06GC8M3CFE0000000000000', leftPad(toString(toUInt32(pow(u, 4) * 200)), 3, '0')),
    if(first, 'message.queued', concat('message.', ending)),
    fromUnixTimestamp64Milli(toInt64(ms + step * 300), 'UTC'),
    concat('msg_', id), step, fromUnixTimestamp64Milli(toInt64(ms), 'UTC'), 'live',
    concat('user', toString(sipHash64(n, 4) % 7000000), '@', domain), domain, if(first, 'queued', ending),
    if(first, concat('Shop <hello@shop', toString(text % 50), '.example>'), ''),
    if(first, concat('hello@shop', toString(text % 50), '.example'), ''),
    multiIf(
        not first, '',
        tag < 100, concat('Your code is ', toString(h % 1000000)),
        concat('Receipt for order ', toString(n), ' from Shop ', toString(text))
    ),
    [concat('tag', toString(tag)), if(h % 7 = 0, 'campaign', 'mail')],
    map('order', toString(n), 'tier', ['free', 'gold', 'silver'][intDiv(h, 7) % 3 + 1]),
    if(tried, 1, 0),
    multiIf(
        not tried, '', ending = 'delivered', 'delivered', ending = 'expired', 'transient',
        ['invalid_recipient', 'mailbox_full', 'spam_blocked', 'rejected'][intDiv(h, 10000) % 4 + 1]
    ),
    multiIf(not tried, 0, ending = 'delivered', 250, 550), '', if(tried, concat('250 2.0.0 Ok: queued as ', hex(h)), ''),
    if(first AND text > 100, concat('tpl_', toString(text)), ''), multiIf(not first, '', h % 11 = 0, 'batch', 'api'),
    if(tried, ['mx:main', 'up_1', 'up_2'][toUInt32(pow(v, 3) * 3) + 1], '')
FROM numbers(_FIRST_, _COUNT_)
WHERE _WHICH_
"""


class ManyMessages:
    """Grows the tables of a database that analytics has migrated, from where an earlier run left them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._made = 0

    def prepare(self) -> None:
        """A table that keeps nothing, with copies of the views that feed what is measured."""
        self._client.command("CREATE TABLE IF NOT EXISTS made AS events_raw ENGINE = Null")
        for view, table in _VIEWS.items():
            asked = f"SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = '{view}'"
            ((body,),) = self._client.query(asked).result_rows
            copy = body.replace("events_raw", "made")
            self._client.command(f"CREATE MATERIALIZED VIEW IF NOT EXISTS made_{view} TO {table} AS {copy}")
        # An insert that was cut off is made again: what it had made is there twice, as everything may be.
        ((youngest,),) = self._client.query("SELECT max(created_at) FROM messages").result_rows
        whole = (round(youngest.timestamp() * 1000) - _FIRST_MS) // _EACH_MS + 1
        self._made = max(whole, 0) // _AT_ONCE * _AT_ONCE

    def grow_to(self, messages: int) -> None:
        """Insert what is missing, as it would have come."""
        while self._made < messages:
            first, count = self._made, min(_AT_ONCE, messages - self._made)
            self._insert(first, count, "[1, 2]", "step = 1 OR h % 50 > 0")
            for _ in range(2):
                self._insert(first, count, "[2]", "h % 50 = 0")
            self._made += count

    def _insert(self, first: int, count: int, steps: str, which: str) -> None:
        statement = _EVENTS
        for word, value in {
            "_STEPS_": steps,
            "_WHICH_": which,
            "_FIRST_MS_": str(_FIRST_MS),
            "_EACH_MS_": str(_EACH_MS),
            "_FIRST_": str(first),
            "_COUNT_": str(count),
        }.items():
            statement = statement.replace(word, value)
        self._client.command(statement, settings=_BOUNDS)
