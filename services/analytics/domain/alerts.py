"""Alerts (R34): what a rule makes of the numbers of a window, and when that is worth telling. Pure.

The numbers are those of `/v1/metrics`, as of a moment up to which every event is in the store. An alert is raised when the
condition holds, once, and resolved when it has not held for a while, once: what flickers around the threshold is one
episode. Where there are too few messages to say, nothing changes: no data is no recovery.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chassis.ids import derived_id
from schemas.alerts import AlertRule, AlertState, AlertStatus, Measure
from schemas.envelope import Envelope, seal, to_ms, to_timestamp
from schemas.events import AlertChange, AlertRaised, AlertResolved
from services.analytics.domain.metrics import DIMENSIONS, RATES, MetricsQuery, MetricsRow

SOURCE = "analytics"
# A raised alert is resolved when its condition has not held for a window, or for so long.
LONGEST_QUIET_MS = 300_000
MOST_MISSED = 10


@dataclass(frozen=True, slots=True)
class Tally:
    """One measure over one time: messages, and out of how many."""

    part: int = 0
    whole: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A rule's window, and the time before it where the rule compares."""

    window: Tally
    baseline: Tally


@dataclass(frozen=True, slots=True)
class Measured:
    """`holds` None: too few messages to say."""

    value: float | None
    threshold: float | None
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rule stands. `quiet_since_ms`: since when a raised one's condition has not held; a restart forgets it."""

    state: AlertStatus
    since_ms: int
    value: float | None
    threshold: float | None
    episode: int
    quiet_since_ms: int | None = None


def question(rule: AlertRule, at_ms: int) -> MetricsQuery:
    """The numbers that the rule needs: of its window, and of the time before it where it compares."""
    begins_ms = at_ms - rule.window_seconds * 1000
    earlier_ms = begins_ms - (rule.condition.baseline_seconds or 0) * 1000
    given = rule.filters.model_dump(exclude_none=True)
    return MetricsQuery(
        since_ms=earlier_ms,
        until_ms=at_ms,
        interval="total",
        time_zone="UTC",
        group_by=(),
        filters={name: str(given[name]) for name in DIMENSIONS if name in given},
        starts=[earlier_ms, begins_ms] if earlier_ms < begins_ms else [begins_ms],
    )


def moments(last_ms: int | None, at_ms: int, window_ms: int) -> list[int]:
    """When to judge a rule that was judged at `last_ms`: now, and before where its window would leave something out.

    So what came and went while the store was away, or slow, is not passed over; up to MOST_MISSED windows of it.
    """
    if last_ms is None:
        return [at_ms]
    first_ms = max(last_ms, at_ms - MOST_MISSED * window_ms) + window_ms
    return [*range(first_ms, at_ms, window_ms), at_ms]


def seen_by(rule: AlertRule, asked: MetricsQuery, answer: Sequence[MetricsRow]) -> Seen:
    rows = {row.start_ms: _tally(rule.measure, row) for row in answer}
    *earlier, begins_ms = asked.starts
    return Seen(rows.get(begins_ms, Tally()), rows.get(earlier[0], Tally()) if earlier else Tally())


def measured(rule: AlertRule, seen: Seen) -> Measured:
    of_share = rule.measure in RATES
    value, threshold = _value(of_share, seen.window), _threshold(rule, seen.baseline)
    if value is None or threshold is None:
        return Measured(value, threshold, None)
    sample = seen.window.whole if of_share else seen.window.part
    if rule.condition.below is not None:
        return Measured(value, threshold, value < threshold if not of_share or sample >= rule.minimum else None)
    if sample < rule.minimum:  # of too few messages a share says nothing; a number says that there are few
        return Measured(value, threshold, None if of_share else False)
    above = value > threshold if rule.condition.above is not None else value >= threshold
    return Measured(value, threshold, above)


def decide(rule: AlertRule, now: Measured, before: Standing | None, at_ms: int) -> Standing:
    """How `rule` stands at `at_ms`, given how it stood."""
    episode = 0 if before is None else before.episode
    raised = before is not None and before.state == "raised"
    if before is not None and raised:
        if now.holds is not False:
            return replace(before, value=now.value, threshold=now.threshold, quiet_since_ms=None)
        quiet_ms = at_ms if before.quiet_since_ms is None else before.quiet_since_ms
        if at_ms - quiet_ms < min(rule.window_seconds * 1000, LONGEST_QUIET_MS):
            return replace(before, value=now.value, threshold=now.threshold, quiet_since_ms=quiet_ms)
    state: AlertStatus = "unknown" if now.holds is None else "raised" if now.holds else "ok"
    since_ms = before.since_ms if before is not None and before.state == state else at_ms
    return Standing(state, since_ms, now.value, now.threshold, episode + (state == "raised"))


def unwatched(before: Standing, at_ms: int) -> Standing:
    """Of a rule that is switched off, or gone."""
    return Standing("unknown", at_ms, None, None, before.episode)


def news(rule: AlertRule, before: Standing | None, after: Standing, at_ms: int) -> Envelope[AlertChange] | None:
    """The account event of the change. Its id is a function of rule and episode, so that no episode is told twice."""
    was_raised = before is not None and before.state == "raised"
    if was_raised == (after.state == "raised"):
        return None
    facts = {
        "rule_id": rule.id,
        "name": rule.name,
        "measure": rule.measure,
        "value": after.value,
        "threshold": after.threshold,
        "window_seconds": rule.window_seconds,
        "episode": after.episode,
        "at": to_timestamp(at_ms),
    }
    data: AlertChange
    if before is not None and was_raised:
        because = "deleted" if rule.deleted_at else "recovered" if rule.enabled else "disabled"
        data = AlertResolved.model_validate(facts | {"raised_at": to_timestamp(before.since_ms), "because": because})
    else:
        data = AlertRaised.model_validate(facts)
    word = data.TYPE.removeprefix("alert.")
    return seal(
        data,
        record_id=derived_id("evt", rule.id, str(after.episode), word),
        source=SOURCE,
        subject=rule.id,
        time_ms=at_ms,
        project_id=rule.project_id,
    )


def standing_of(state: AlertState) -> Standing:
    return Standing(state.state, to_ms(state.since), state.value, state.threshold, state.episode)


def _tally(measure: Measure, row: MetricsRow) -> Tally:
    if measure not in RATES:
        return Tally(row.counts[measure])
    return Tally(row.counts[RATES[measure][0]], row.wholes[measure])


def _value(of_share: bool, tally: Tally) -> float | None:
    """A share of nothing is none."""
    if not of_share:
        return float(tally.part)
    return tally.part / tally.whole if tally.whole else None


def _threshold(rule: AlertRule, baseline: Tally) -> float | None:
    """What the value is held against. In a time in which nothing happened, one message is taken to have had it."""
    condition = rule.condition
    if condition.times is None or condition.baseline_seconds is None:
        return condition.above if condition.above is not None else condition.below
    if rule.measure not in RATES:
        return condition.times * max(1, baseline.part) * rule.window_seconds / condition.baseline_seconds
    if baseline.whole < max(1, rule.minimum):
        return None
    return condition.times * max(1, baseline.part) / baseline.whole
