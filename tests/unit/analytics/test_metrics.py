"""What may be asked of the numbers, where their intervals begin, and the answer's shape (R33)."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import to_ms, to_timestamp
from services.analytics.domain.metrics import (
    COUNTS,
    RATES,
    MetricsQuery,
    MetricsRow,
    Percentiles,
    metrics_query,
    metrics_view,
)
from services.analytics.domain.parameters import InvalidQuery

NOW = to_ms("2026-06-15T12:34:56.789Z")
HOUR_MS = 3_600_000


def asked(**params: str) -> MetricsQuery:
    return metrics_query(list(params.items()), NOW)


def starts(zone: str, interval: str, since: str, until: str) -> list[str]:
    query = asked(time_zone=zone, interval=interval, since=since, until=until)
    return [datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).strftime("%d %H:%M%z") for ms in query.starts]


def test_by_default_it_is_the_last_day_by_the_hour() -> None:
    query = asked()
    assert (query.since_ms, query.until_ms) == (NOW - 24 * HOUR_MS, NOW)
    assert (query.interval, query.time_zone, query.group_by, query.filters) == ("hour", "UTC", (), {})
    assert (len(query.starts), to_timestamp(query.starts[0])) == (25, "2026-06-14T12:00:00.000Z")
    assert asked(interval="total").starts == [query.since_ms]


def test_the_hour_that_comes_twice_is_two_hours_and_the_one_that_is_missing_none() -> None:
    fall = starts("Europe/Berlin", "hour", "2026-10-24T23:30:00Z", "2026-10-25T02:30:00Z")
    assert fall == ["25 01:00+0200", "25 02:00+0200", "25 02:00+0100", "25 03:00+0100"]
    spring = starts("Europe/Berlin", "hour", "2026-03-28T23:30:00Z", "2026-03-29T02:00:00Z")
    assert spring == ["29 00:00+0100", "29 01:00+0100", "29 03:00+0200"]


def test_zones_that_are_off_by_a_part_of_an_hour_or_move_by_half_a_one() -> None:
    assert starts("Asia/Kathmandu", "hour", "2026-01-01T00:20:00Z", "2026-01-01T01:20:00Z") == [
        "01 06:00+0545", "01 07:00+0545",
    ]  # fmt: skip
    lord_howe = starts("Australia/Lord_Howe", "hour", "2026-10-03T14:40:00Z", "2026-10-03T16:10:00Z")
    assert lord_howe == ["04 01:00+1030", "04 02:30+1100", "04 03:00+1100"]


def test_days_begin_at_midnight_also_where_there_is_none() -> None:
    santiago = starts("America/Santiago", "day", "2026-09-05T12:00:00Z", "2026-09-07T12:00:00Z")
    assert santiago == ["05 00:00-0400", "06 01:00-0300", "07 00:00-0300"]
    berlin = asked(
        time_zone="Europe/Berlin", interval="day", since="2026-10-24T22:00:00Z", until="2026-10-26T22:00:00Z"
    )
    assert [second - first for first, second in zip(berlin.starts, berlin.starts[1:], strict=False)] == [25 * HOUR_MS]


@given(
    st.sampled_from(
        ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo"]
    ),
    st.sampled_from(["minute", "hour", "day"]),
    st.integers(to_ms("2020-01-01T00:00:00.000Z"), to_ms("2030-01-01T00:00:00.000Z")),
    st.integers(1, 40 * HOUR_MS),
)
def test_intervals_follow_one_another_without_a_gap_and_hold_all_of_the_time(
    zone: str, interval: str, since_ms: int, span_ms: int
) -> None:
    query = asked(
        time_zone=zone, interval=interval, since=to_timestamp(since_ms), until=to_timestamp(since_ms + span_ms)
    )
    longest = {"minute": 60_000, "hour": HOUR_MS, "day": 25 * HOUR_MS}[interval]
    assert query.starts[0] <= since_ms < query.starts[0] + longest
    assert query.starts[-1] < since_ms + span_ms <= query.starts[-1] + longest
    assert all(0 < after - before <= longest for before, after in zip(query.starts, query.starts[1:], strict=False))
    for start in query.starts:
        local = datetime.fromtimestamp(start / 1000, ZoneInfo(zone))
        before = local.astimezone(ZoneInfo("UTC")) - timedelta(milliseconds=1)
        earlier = before.astimezone(ZoneInfo(zone))
        unit = {"minute": "%d%H%M", "hour": "%d%H%z", "day": "%d"}[interval]
        assert earlier.strftime(unit) != local.strftime(unit)


@pytest.mark.parametrize(
    ("params", "field", "code"),
    [
        ({"since": "2026-06-15T13:00:00Z"}, "since", "invalid_value"),
        ({"interval": "minute", "since": "2026-06-01T00:00:00Z"}, "interval", "too_many"),
        ({"group_by": "tag,tag"}, "group_by", "invalid_value"),
        ({"group_by": ""}, "group_by", "invalid_value"),
        ({"time_zone": "../etc/passwd"}, "time_zone", "invalid_value"),
        ({"time_zone": ""}, "time_zone", "invalid_value"),
        ({"tag": ""}, "tag", "empty"),
        ({"error_category": "bad_luck"}, "error_category", "invalid_value"),
    ],
    ids=str,
)
def test_faults(params: dict[str, str], field: str, code: str) -> None:
    with pytest.raises(InvalidQuery) as raised:
        asked(**params)
    assert [(fault.field, fault.code) for fault in raised.value.faults] == [(field, code)]


def test_all_faults_at_once() -> None:
    with pytest.raises(InvalidQuery) as raised:
        asked(interval="week", group_by="x", channel="fax", colour="red")
    assert {fault.field for fault in raised.value.faults} == {"interval", "group_by", "channel", "colour"}


def test_a_row_as_it_is_shown() -> None:
    query = asked(group_by="tag", interval="total")
    counts = {**dict.fromkeys(COUNTS, 0), "delivered": 3, "bounced": 1, "complained": 1}
    wholes = {**dict.fromkeys(RATES, 0), "delivery_rate": 4, "bounce_rate": 4, "complaint_rate": 3}
    row = MetricsRow(query.since_ms, ("",), counts, wholes, Percentiles(1, 2, 3), None)
    (shown,) = metrics_view(query, [row], 7)["data"]
    assert (shown["group"], shown["time"]) == ({"tag": None}, to_timestamp(query.since_ms))
    assert (shown["delivery_rate"], shown["bounce_rate"], shown["complaint_rate"]) == (0.75, 0.25, 0.333333)
    assert shown["deferral_rate"] is None
    assert shown["first_attempt_ms"] == {"p50": 1, "p95": 2, "p99": 3}
    assert shown["delivered_ms"] == {"p50": None, "p95": None, "p99": None}


def test_too_many_rows_are_refused_not_cut() -> None:
    query = asked(group_by="recipient_domain")
    row = MetricsRow(query.starts[0], ("",), dict.fromkeys(COUNTS, 1), dict.fromkeys(RATES, 1), None, None)
    rows = [MetricsRow(row.start_ms, (f"d{n}",), row.counts, row.wholes, None, None) for n in range(401)]
    with pytest.raises(InvalidQuery, match="group_by"):
        metrics_view(query, rows, 0)
    assert len(metrics_view(query, rows[:400], 0)["data"]) == 400 * 25
