"""Parts of `events_raw` are compact, one file for all columns, until they are large.

A wide part has two files and a buffer of its own for each of 33 columns: written for an insert of ten thousand rows, that was a
quarter of what the insert cost, views included. Events are read by few rows at a time, for which it makes no difference.
"""

# Above any insert (`batch_records`) of usual events, and what the first merges make of some.
_COMPACT = "ALTER TABLE events_raw MODIFY SETTING min_bytes_for_wide_part = 67108864"

STATEMENTS = (_COMPACT,)
