"""Query parameters: understood as meant, or every fault named; junk is a 422, never a 500 (R30, R35)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import MessageIds
from schemas.envelope import to_ms
from services.analytics.domain.attempts import attempts_query
from services.analytics.domain.cursors import feed_cursor, message_cursor
from services.analytics.domain.feed import event_stream_query, events_query
from services.analytics.domain.message_filters import MessageFilters, messages_query
from services.analytics.domain.parameters import InvalidQuery, Parameters, no_parameters

A_MESSAGE = MessageIds({1: b"0123456789abcdef"}, 1).new(project_id="p", now_ms=1, lane="standard", partition=0).text
NAMES = [
    "status", "recipient", "recipient_domain", "from", "subject", "tag", "since", "until", "limit", "after", "types",
    "metadata[a]", "metadata[]", "metadata", "metadata[a]]", "template", "path", "error_category", "channel", "",
]  # fmt: skip
VALUES = ["", "25", "0", "101", "-1", "１２", "delivered", "2026-01-01T00:00:00Z", "2026-01-01", "e30", "W10", "bnVsbA"]
PARAMETERS = st.lists(st.tuples(st.sampled_from(NAMES) | st.text(), st.sampled_from(VALUES) | st.text()), max_size=6)


def faults(parameters: Parameters) -> set[tuple[str, str]]:
    with pytest.raises(InvalidQuery) as raised:
        messages_query(parameters)
    return {(fault.field, fault.code) for fault in raised.value.faults}


def test_all_filters_together() -> None:
    query = messages_query(
        [
            ("status", "deferred"),
            ("recipient", "Ada <Ada@Example.org>"),
            ("recipient_domain", "Example.ORG"),
            ("from", "Shop <Hello@example.com>"),
            ("subject", "code"),
            ("tag", "otp"),
            ("template", "tpl_1"),
            ("path", "mx:main"),
            ("error_category", "mailbox_full"),
            ("channel", "batch"),
            ("metadata[order]", "7"),
            ("metadata[a[b]]", "8"),
            ("since", "2026-01-01T02:00:00+02:00"),
            ("until", "2026-01-02T00:00:00.5Z"),
            ("limit", "100"),
        ]
    )
    assert query.filters == MessageFilters(
        status="deferred",
        recipient="ada@example.org",
        recipient_domain="example.org",
        sender="hello@example.com",
        subject="code",
        tag="otp",
        template="tpl_1",
        path="mx:main",
        error_category="mailbox_full",
        channel="batch",
        metadata={"order": "7", "a[b]": "8"},
        since_ms=to_ms("2026-01-01T00:00:00Z"),
        until_ms=to_ms("2026-01-02T00:00:00Z") + 500,
    )
    assert query.limit == 100
    assert messages_query([]).limit == 25


def test_an_offset_whose_plus_was_not_escaped_is_meant_as_one() -> None:
    query = messages_query([("since", "2026-01-01T02:00:00 02:00")])
    assert query.filters.since_ms == to_ms("2026-01-01T00:00:00Z")


def test_all_faults_at_once_and_unknown_parameters_are_faults_R30() -> None:
    parameters = [
        ("status", "done"), ("limit", "101"), ("since", "yesterday"), ("until", "2026-01-01"), ("after", "x"),
        ("tag", ""), ("subject", "s" * 1001), ("error_category", "bad"), ("channel", "post"), ("tags", "otp"), ("recipient", "a@b"), ("recipient", "c@d"),
    ]  # fmt: skip
    assert faults(parameters) == {
        ("status", "invalid_value"),
        ("limit", "invalid_value"),
        ("since", "invalid_time"),
        ("until", "invalid_time"),
        ("after", "invalid_cursor"),
        ("tag", "empty"),
        ("subject", "too_long"),
        ("error_category", "invalid_value"),
        ("channel", "invalid_value"),
        ("tags", "unsupported_field"),
        ("recipient", "repeated"),
    }


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "", " 5", "１２", "1e2", "9" * 5000])
def test_limit_is_1_to_100_R30(limit: str) -> None:
    assert faults([("limit", limit)]) == {("limit", "invalid_value")}


def test_a_cursor_belongs_to_its_filters() -> None:
    filters = MessageFilters(tag="otp")
    cursor = message_cursor(A_MESSAGE, filters.fingerprint)
    assert messages_query([("tag", "otp"), ("after", cursor)]).after == A_MESSAGE
    assert faults([("tag", "news"), ("after", cursor)]) == {("after", "invalid_cursor")}
    assert faults([("after", cursor)]) == {("after", "invalid_cursor")}


def test_times_beyond_what_an_id_can_hold_are_bounds_not_errors() -> None:
    query = messages_query([("since", "0001-01-01T00:00:00Z"), ("until", "9999-12-31T23:59:59Z")])
    assert query.filters.since_ms == 0
    assert query.filters.until_ms is not None
    assert query.filters.until_ms < 2**48


def test_types_of_the_feed() -> None:
    query = events_query([("types", "message.queued, suppression.added"), ("limit", "3")])
    assert query.types == {"message.queued", "suppression.added"}
    assert (query.limit, query.start) == (3, {})
    for types in ("message.read", "", "message.queued,"):
        with pytest.raises(InvalidQuery):
            events_query([("types", types)])


def test_the_feed_goes_on_behind_its_positions() -> None:
    positions = {("topic", 3): 17, ("topic", 11): 0}
    assert events_query([("after", feed_cursor(positions))]).start == positions
    assert events_query([("after", "now")]).start == "now"
    assert event_stream_query([("after", "now")], feed_cursor(positions)).start == positions


@given(PARAMETERS)
def test_junk_is_understood_or_refused_and_never_fails(parameters: list[tuple[str, str]]) -> None:
    for parse in (messages_query, events_query, lambda given: attempts_query(given, "whk_1"), no_parameters):
        try:
            parse(parameters)
        except InvalidQuery as error:
            assert error.faults  # noqa: PT017  # either way is right; an answer without a reason is not


@given(st.from_type(MessageFilters), st.from_type(MessageFilters))
def test_other_filters_have_other_fingerprints(one: MessageFilters, other: MessageFilters) -> None:
    assert (one.fingerprint == other.fingerprint) == (one == other)
