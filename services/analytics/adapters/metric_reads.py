"""The numbers of a project's mail, from `metric_events`: folded by message first, then counted.

So an event that stands there twice, or happened twice in one interval, counts once.
"""

from collections.abc import Sequence
from typing import Any

from services.analytics.adapters.questions import Conditions, Questions, Values, select
from services.analytics.domain.metrics import (
    COUNTS,
    MAX_ROWS,
    RATES,
    Dimension,
    MetricsQuery,
    MetricsRow,
    Percentiles,
)

_IN_TIME = (
    "time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')",
    "time < fromUnixTimestamp64Milli({until:Int64}, 'UTC')",
)
# Only `message.queued` has these. It came when the message was made, which may be long before `since`; clocks differ.
_OF_ORIGIN: frozenset[Dimension] = frozenset({"template", "channel", "priority"})
_FIRST = select("min(created_at)", "metric_events", [*_IN_TIME])
_ORIGIN = select(
    "message AS queued_message, max(template) AS template, max(channel) AS channel, max(priority) AS priority",
    "metric_events",
    ["happened = 1", f"time >= ({_FIRST}) - toIntervalMinute(10)", _IN_TIME[1]],
    "GROUP BY message",
)
_PROVIDERS = """
    SELECT destination, argMax(provider_group, resolved_at) AS provider_group FROM destinations GROUP BY destination
"""
_EXPRESSIONS: dict[Dimension, str] = {
    "recipient_domain": "recipient_domain",
    # A domain that no sender has resolved is its own group, as it is for pacing.
    "provider_group": "if(empty(provider.provider_group), recipient_domain, provider.provider_group)",
    "tag": "arrayJoin(if(empty(tags), [''], arrayDistinct(CAST(tags, 'Array(String)'))))",
    "template": "origin.template",
    "channel": "origin.channel",
    "priority": "origin.priority",
    "path": "path",
    "error_category": "category",
    "environment": "environment",
}
_LEVELS = "0.5, 0.95, 0.99"


class ClickHouseMetrics:
    """The port `MetricReads` on ClickHouse."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def metrics(self, project_id: str, query: MetricsQuery) -> list[MetricsRow]:
        statement, values = _statement(query)
        rows = await self._questions.ask("metrics", statement, project_id, values)
        return [_row(row, len(query.group_by)) for row in rows]


def _statement(query: MetricsQuery) -> tuple[str, Values]:
    values: Values = {"since": query.since_ms, "until": query.until_ms, "starts": list(query.starts)}
    groups = [f"g{number}" for number in range(len(query.group_by))]
    named = [f"toString({_EXPRESSIONS[name]}) AS {group}" for group, name in zip(groups, query.group_by, strict=True)]
    keys = ", ".join(["start", *groups])
    folded = select(
        ", ".join(
            [
                "roundDown(toUnixTimestamp64Milli(time), {starts:Array(Int64)}) AS start",
                *named,
                "message",
                "groupBitOr(happened) AS had",
                "max(first_attempt_ms) AS first_ms",
                "max(delivered_ms) AS took_ms",
            ]
        ),
        _source({*query.group_by, *query.filters}),
        [*_IN_TIME, *_filters(query, values)],
        f"GROUP BY {keys}, message",
    )
    # Words of this module: values are bound.
    counted = f"SELECT {keys}, {_counted()} FROM ({folded}) GROUP BY {keys} ORDER BY {keys} LIMIT {MAX_ROWS + 1}"  # noqa: S608
    return counted, values


def _source(used: set[Dimension]) -> str:
    source = "metric_events"
    if used & _OF_ORIGIN:
        source += f" LEFT ANY JOIN ({_ORIGIN}) AS origin ON message = origin.queued_message"
    if "provider_group" in used:
        source += f" LEFT ANY JOIN ({_PROVIDERS}) AS provider ON recipient_domain = provider.destination"
    return source


def _filters(query: MetricsQuery, values: Values) -> Conditions:
    found: Conditions = []
    for name, value in query.filters.items():
        expression = "has(tags, {tag:String})" if name == "tag" else f"{_EXPRESSIONS[name]} = {{{name}:String}}"
        found.append(expression)
        values[name] = value
    return found


def _counted() -> str:
    bits = {name: 1 << number for number, name in enumerate(COUNTS)}
    columns = [f"countIf(bitAnd(had, {bit}) > 0)" for bit in bits.values()]
    columns += [f"countIf(bitAnd(had, {sum(bits[name] for name in whole)}) > 0)" for _, whole in RATES.values()]
    for latency in ("first_ms", "took_ms"):
        columns += [f"countIf({latency} >= 0)", f"quantilesExactIf({_LEVELS})({latency}, {latency} >= 0)"]
    return ", ".join(columns)


def _row(row: Sequence[Any], groups: int) -> MetricsRow:
    start, group, numbers = row[0], tuple(row[1 : 1 + groups]), row[1 + groups :]
    counts, wholes = numbers[: len(COUNTS)], numbers[len(COUNTS) : len(COUNTS) + len(RATES)]
    first, first_ms, delivered, took_ms = numbers[len(COUNTS) + len(RATES) :]
    return MetricsRow(
        start_ms=start,
        group=group,
        counts=dict(zip(COUNTS, counts, strict=True)),
        wholes=dict(zip(RATES, wholes, strict=True)),
        first_attempt_ms=Percentiles(*first_ms) if first else None,
        delivered_ms=Percentiles(*took_ms) if delivered else None,
    )
