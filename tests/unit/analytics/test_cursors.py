"""Cursors come back as they went out, and nothing else passes for one (R30, R35)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import MessageIds
from services.analytics.domain.cursors import (
    AttemptCursor,
    BadCursor,
    attempt_cursor,
    feed_cursor,
    message_cursor,
    read_attempt_cursor,
    read_feed_cursor,
    read_message_cursor,
)

IDS = MessageIds({1: b"0123456789abcdef"}, 1)
OFFSETS = st.integers(0, 2**62 - 1)


@given(st.integers(0, 2**48 - 1), st.text())
def test_message_cursor_round_trip(now_ms: int, filters: str) -> None:
    message_id = IDS.new(project_id="p", now_ms=now_ms, lane="express", partition=1023).text
    assert read_message_cursor(message_cursor(message_id, filters), filters) == message_id


@given(OFFSETS, st.text(), st.text())
def test_attempt_cursor_round_trip(at_ms: int, attempt_id: str, endpoint_id: str) -> None:
    cursor = AttemptCursor(at_ms, attempt_id)
    assert read_attempt_cursor(attempt_cursor(cursor, endpoint_id), endpoint_id) == cursor
    with pytest.raises(BadCursor):
        read_attempt_cursor(attempt_cursor(cursor, endpoint_id), endpoint_id + "x")


@given(st.dictionaries(st.tuples(st.text(), st.integers(0, 1023)), OFFSETS, max_size=30))
def test_feed_cursor_round_trip(positions: dict[tuple[str, int], int]) -> None:
    assert read_feed_cursor(feed_cursor(positions)) == positions


@given(st.text() | st.binary().map(lambda junk: junk.hex()))
def test_junk_is_no_cursor_or_a_harmless_one(text: str) -> None:
    for read in (lambda t: read_message_cursor(t, "f"), lambda t: read_attempt_cursor(t, "e")):
        with pytest.raises(BadCursor):
            read(text)
    try:
        positions = read_feed_cursor(text)
    except BadCursor:
        return
    assert all(0 <= partition < 1024 and 0 <= offset < 2**62 for (_, partition), offset in positions.items())


@pytest.mark.parametrize(
    "junk", ["eyJ0IjogeyI5OTk5OSI6IDF9fQ", "eyJ0Ijp7Ii0xIjoxfX0", "eyJ0Ijp7IjEiOi0xfX0", "eyJ0Ijp7IjEiOnRydWV9fQ"]
)
def test_positions_out_of_range_are_refused(junk: str) -> None:
    with pytest.raises(BadCursor):
        read_feed_cursor(junk)
