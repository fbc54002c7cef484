"""Rows that stand apart from their message's first can be looked for; a month that is over becomes one part, in smaller blocks (R30, docs/adr/0010).

Nothing is read anew: a row of before is what its facts say, and the view leaves the column to its default as well.
"""

# `facts` come with `message.queued`: a row without it knows nothing of them. `min`, so that the word goes where both meet.
# It is of the column's own, as all terms are: see m0008_one_index.py.
_APART = """
ALTER TABLE message_index ADD COLUMN IF NOT EXISTS
    apart SimpleAggregateFunction(min, Array(String)) DEFAULT if(empty(facts), ['apart'], []) CODEC(ZSTD)
"""

# A month to which nothing has come for a day becomes one part; of one that goes on there is always a part that is younger.
# A page is few rows from many places: of what is unpacked for one of them most is thrown away.
_SETTINGS = """
    min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1, min_compress_block_size = 16384
"""

STATEMENTS = (
    _APART,
    "ALTER TABLE message_index DROP INDEX IF EXISTS events_seen",
    "ALTER TABLE message_index ADD INDEX IF NOT EXISTS those_apart apart TYPE text(tokenizer = 'array')",
    *(f"ALTER TABLE {table} MODIFY SETTING {_SETTINGS}" for table in ("messages", "message_index")),
    # The column first: an index of a column that is not in the part yet takes all `facts` for empty. Parts that are there
    # get both one after the other, while they are asked; another ALTER would wait for it, so it comes last.
    "ALTER TABLE message_index MATERIALIZE COLUMN apart, MATERIALIZE INDEX those_apart SETTINGS mutations_sync = 0",
)
