"""Numbers of a project's mail (R33): what may be asked for, where intervals begin, and the answer's shape.

A message counts once per kind of event in the interval of the event's time, however often that happened.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.envelope import to_timestamp
from schemas.mail import Category, Channel, Environment, Priority
from services.analytics.domain.answers import Json
from services.analytics.domain.parameters import (
    Fault,
    InvalidQuery,
    Parameters,
    Reader,
    Wrong,
    one_of,
    text_value,
    time_value,
)

Interval = Literal["minute", "hour", "day", "total"]
# In the order of the bits in `metric_events.happened` (m0004_metrics.py).
COUNTS = (
    "queued",
    "accepted",
    "delivered",
    "deferred",
    "bounced",
    "suppressed",
    "cancelled",
    "expired",
    "unknown",
    "complained",
    "unsubscribed",
)
# Messages that had the first kind of event, out of those that had any of the others.
RATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "delivery_rate": ("delivered", ("delivered", "bounced", "expired")),
    "bounce_rate": ("bounced", ("delivered", "bounced")),
    "complaint_rate": ("complained", ("delivered",)),
    "deferral_rate": ("deferred", ("delivered", "bounced", "deferred")),
}
Dimension = Literal[
    "recipient_domain",
    "provider_group",
    "tag",
    "template",
    "channel",
    "path",
    "error_category",
    "priority",
    "environment",
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
MAX_GROUP_BY = 2
MAX_INTERVALS = 3_000
MAX_ROWS = 10_000
_MINUTE_MS = 60_000
_DEFAULT_SPAN_MS = 24 * 60 * _MINUTE_MS
_CLOSED: Mapping[str, tuple[str, ...]] = {
    "channel": get_args(Channel),
    "error_category": get_args(Category),
    "priority": get_args(Priority),
    "environment": get_args(Environment),
}


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    since_ms: int  # events at or after it
    until_ms: int  # and before this
    interval: Interval
    time_zone: str
    group_by: tuple[Dimension, ...]
    filters: Mapping[Dimension, str]
    starts: Sequence[int]  # of the intervals, Unix ms: the first one holds `since`


@dataclass(frozen=True, slots=True)
class Percentiles:
    p50: int
    p95: int
    p99: int


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """One interval of one group. `group` has a value for each dimension of the query, "" for none; `wholes` one per rate."""

    start_ms: int
    group: tuple[str, ...]
    counts: Mapping[str, int]
    wholes: Mapping[str, int]
    first_attempt_ms: Percentiles | None
    delivered_ms: Percentiles | None


def metrics_query(parameters: Parameters, now_ms: int) -> MetricsQuery:
    """`GET /v1/metrics`. Raises InvalidQuery."""
    reader = Reader(parameters)
    until = reader.take("until", time_value)
    since = reader.take("since", time_value)
    interval = reader.take("interval", one_of(get_args(Interval)))
    zone = reader.take("time_zone", _zone)
    group_by = reader.take("group_by", _dimensions)
    given = {name: reader.take(name, _value_of(name)) for name in DIMENSIONS}
    reader.finish()
    until_ms = now_ms if until is None else until
    since_ms = until_ms - _DEFAULT_SPAN_MS if since is None else since
    if since_ms >= until_ms:
        raise InvalidQuery([Fault("since", "invalid_value", "It lies before `until`.")])
    chosen: Interval = interval or "hour"  # type: ignore[assignment]  # one of them
    starts = [since_ms] if chosen == "total" else _starts(since_ms, until_ms, chosen, zone or UTC)
    return MetricsQuery(
        since_ms=since_ms,
        until_ms=until_ms,
        interval=chosen,
        time_zone=str(zone or "UTC"),
        group_by=group_by or (),
        filters={name: value for name, value in given.items() if value is not None},
        starts=starts,
    )


def metrics_view(query: MetricsQuery, rows: Sequence[MetricsRow], behind_ms: int) -> Json:
    """Every interval stands there for each group that has anything. Raises InvalidQuery where that is too much."""
    found = {(row.start_ms, row.group): row for row in rows}
    groups = sorted({row.group for row in rows}) if query.group_by else [()]
    if len(groups) * len(query.starts) > MAX_ROWS:
        message = f"More than {MAX_ROWS} rows: ask for a longer interval, a shorter time or fewer groups."
        raise InvalidQuery([Fault("group_by", "too_many", message)])
    return {
        "object": "metrics",
        "since": to_timestamp(query.since_ms),
        "until": to_timestamp(query.until_ms),
        "interval": query.interval,
        "time_zone": query.time_zone,
        "group_by": list(query.group_by),
        "behind_ms": behind_ms,
        "data": [
            _row_view(query.group_by, found.get((start, group)) or _nothing(start, group))
            for start in query.starts
            for group in groups
        ],
    }


def _nothing(start_ms: int, group: tuple[str, ...]) -> MetricsRow:
    return MetricsRow(start_ms, group, dict.fromkeys(COUNTS, 0), dict.fromkeys(RATES, 0), None, None)


def _row_view(group_by: Sequence[Dimension], row: MetricsRow) -> Json:
    return {
        "time": to_timestamp(row.start_ms),
        "group": {name: value or None for name, value in zip(group_by, row.group, strict=True)},
        **row.counts,
        **{name: _rate(row.counts[part], row.wholes[name]) for name, (part, _) in RATES.items()},
        "first_attempt_ms": _percentiles_view(row.first_attempt_ms),
        "delivered_ms": _percentiles_view(row.delivered_ms),
    }


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _percentiles_view(found: Percentiles | None) -> Json:
    if found is None:
        return {"p50": None, "p95": None, "p99": None}
    return {"p50": found.p50, "p95": found.p95, "p99": found.p99}


# where intervals begin: by the zone's own clock, whatever it does to its hours


def _starts(since_ms: int, until_ms: int, interval: Interval, zone: tzinfo) -> list[int]:
    """Raises InvalidQuery where they are too many."""
    starts: list[int] = []
    for start in _beginnings(since_ms, interval, zone):
        if start >= until_ms:
            break
        if len(starts) == MAX_INTERVALS:
            message = f"More than {MAX_INTERVALS} intervals: ask for longer ones, or for a shorter time."
            raise InvalidQuery([Fault("interval", "too_many", message)])
        starts.append(start)
    return starts


def _beginnings(since_ms: int, interval: Interval, zone: tzinfo) -> Iterator[int]:
    """From the interval on that holds `since`: it is found from midnight on, the one time of a day that every zone knows."""
    start = _midnight(_local(since_ms, zone))
    while (following := _following(start, interval, zone)) <= since_ms:
        start = following
    while True:
        yield start
        start = _following(start, interval, zone)


def _following(start_ms: int, interval: Interval, zone: tzinfo) -> int:
    if interval == "minute":
        return start_ms + _MINUTE_MS
    local = _local(start_ms, zone)
    if interval == "day":
        return _midnight(local + timedelta(days=1))
    return start_ms + (60 - local.minute) * _MINUTE_MS  # less than an hour where a zone has moved by half a one


def _midnight(local: datetime) -> int:
    """The first moment of its day; where clocks pass over midnight, the one in which they do."""
    return round(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp() * 1000)


def _local(ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(ms / 1000, zone)


# parameters


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Wrong("invalid_value", "A name of the time zone database, such as Europe/Berlin.") from error


def _dimensions(text: str) -> tuple[Dimension, ...]:
    names = tuple(part.strip() for part in text.split(","))
    known = sorted((name for name in DIMENSIONS if name in names), key=names.index)
    if len(known) != len(names) or len(names) > MAX_GROUP_BY:
        raise Wrong("invalid_value", f"At most {MAX_GROUP_BY}, with a comma, of {', '.join(DIMENSIONS)}.")
    return tuple(known)


def _value_of(name: Dimension) -> Callable[[str], str]:
    if name == "recipient_domain":
        return lambda text: text_value(text).lower()
    return one_of(_CLOSED[name]) if name in _CLOSED else text_value
