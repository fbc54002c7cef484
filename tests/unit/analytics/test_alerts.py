"""What a rule makes of numbers (R34): when an alert is raised and resolved, and when nothing can be said."""

from typing import Any

import pytest

from schemas.alerts import AlertRule
from schemas.events import AlertRaised, AlertResolved
from services.analytics.domain.alerts import (
    Measured,
    Seen,
    Standing,
    Tally,
    decide,
    measured,
    moments,
    news,
    question,
    seen_by,
    unwatched,
)
from services.analytics.domain.metrics import COUNTS, RATES, MetricsRow

NOW = 1_790_000_000_000
AT = "2026-01-01T00:00:00.000Z"


def rule(**changes: Any) -> AlertRule:
    """Five times as much as in the hour before, in five minutes."""
    said = {
        "id": "alr_1", "project_id": "prj_1", "name": "spike", "version": 1, "created_at": AT, "updated_at": AT,
        "updated_by": "key_1", "measure": "queued", "window_seconds": 300,
        "condition": {"times": 5, "baseline_seconds": 3600}, "minimum": 20,
    }  # fmt: skip
    return AlertRule.model_validate(said | changes)


ABOVE = rule(measure="bounced", condition={"above": 5}, minimum=0)
BELOW = rule(condition={"below": 5}, minimum=0)
SHARE = rule(measure="bounce_rate", condition={"above": 0.05})
SHARE_TIMES = rule(measure="bounce_rate", condition={"times": 3, "baseline_seconds": 3600})
LOW_SHARE = rule(measure="delivery_rate", condition={"below": 0.9})


def seen(part: int, whole: int = 0, *, before: tuple[int, int] = (0, 0)) -> Seen:
    return Seen(Tally(part, whole), Tally(*before))


@pytest.mark.parametrize(
    ("of", "what", "expected"),
    [
        (rule(), seen(49, before=(120, 0)), (49, 50, False)),  # 120 an hour are 10 in five minutes
        (rule(), seen(50, before=(120, 0)), (50, 50, True)),
        # Where there was nothing before, one message is taken to have been there: the minimum decides.
        (rule(), seen(19), (19, 5 / 12, False)),
        (rule(), seen(20), (20, 5 / 12, True)),
        (rule(), seen(0), (0, 5 / 12, False)),
        (ABOVE, seen(5), (5, 5, False)),
        (ABOVE, seen(6), (6, 5, True)),
        # A number is known when it is none, too.
        (BELOW, seen(0), (0, 5, True)),
        (BELOW, seen(5), (5, 5, False)),
        (SHARE, seen(2, 20), (0.1, 0.05, True)),
        (SHARE, seen(1, 20), (0.05, 0.05, False)),
        # Of few messages, or none, a share says nothing, neither that all is well.
        (SHARE, seen(19, 19), (1, 0.05, None)),
        (SHARE, seen(0, 0), (None, 0.05, None)),
        (LOW_SHARE, seen(0, 0), (None, 0.9, None)),
        (LOW_SHARE, seen(0, 19), (0, 0.9, None)),
        (LOW_SHARE, seen(17, 20), (0.85, 0.9, True)),
        (SHARE_TIMES, seen(6, 20, before=(10, 100)), (0.3, 0.3, True)),
        (SHARE_TIMES, seen(5, 20, before=(10, 100)), (0.25, 0.3, False)),
        (SHARE_TIMES, seen(1, 20, before=(0, 100)), (0.05, 0.03, True)),
        (SHARE_TIMES, seen(6, 20, before=(1, 19)), (0.3, None, None)),
    ],
)
def test_what_a_rule_makes_of_numbers(of: AlertRule, what: Seen, expected: tuple[Any, Any, Any]) -> None:
    found = measured(of, what)
    value, threshold, holds = expected
    assert found.value == pytest.approx(value)
    assert found.threshold == pytest.approx(threshold)
    assert found.holds is holds


def test_the_numbers_are_those_of_the_metrics_from_the_window_and_from_before_it() -> None:
    of = rule(measure="bounce_rate", filters={"tag": "otp", "environment": "live"})
    asked = question(of, NOW)
    assert (asked.since_ms, asked.until_ms, asked.filters) == (
        NOW - 3_900_000, NOW, {"tag": "otp", "environment": "live"}
    )  # fmt: skip
    rows = [
        MetricsRow(start, (), dict.fromkeys(COUNTS, bounced), dict.fromkeys(RATES, 100), None, None)
        for start, bounced in zip(asked.starts, (3, 7), strict=True)
    ]
    assert seen_by(of, asked, rows) == Seen(Tally(7, 100), Tally(3, 100))
    assert seen_by(of, asked, []) == Seen(Tally(), Tally())
    assert question(ABOVE, NOW).starts == [NOW - 300_000]


def test_no_window_is_left_out_however_late_the_look() -> None:
    assert moments(None, NOW, 60_000) == [NOW]
    assert moments(NOW - 2_000, NOW, 60_000) == [NOW]
    assert moments(NOW - 60_000, NOW, 60_000) == [NOW]
    assert moments(NOW - 150_000, NOW, 60_000) == [NOW - 90_000, NOW - 30_000, NOW]
    assert len(moments(0, NOW, 60_000)) == 10


HOLDS, NOT, NOTHING = Measured(9, 5, True), Measured(1, 5, False), Measured(None, 5, None)


def states_over(*steps: Measured, seconds: int = 60, of: AlertRule = ABOVE) -> list[tuple[str, int]]:
    """What a look each `seconds` finds."""
    standing, found = None, list[tuple[str, int]]()
    for number, step in enumerate(steps):
        standing = decide(of, step, standing, NOW + number * seconds * 1000)
        found.append((standing.state, standing.episode))
    return found


def test_raised_once_however_long_it_lasts() -> None:
    assert states_over(NOT, HOLDS, HOLDS, HOLDS) == [("ok", 0), ("raised", 1), ("raised", 1), ("raised", 1)]


def test_resolved_once_it_has_not_held_for_a_window() -> None:
    assert states_over(HOLDS, *[NOT] * 7)[-3:] == [("raised", 1), ("ok", 1), ("ok", 1)]
    assert states_over(HOLDS, *[NOT] * 3, of=rule(window_seconds=60))[1:] == [("raised", 1), ("ok", 1), ("ok", 1)]
    # An hour's window is over after five minutes as well: nobody waits for it.
    assert states_over(HOLDS, *[NOT] * 6, of=rule(window_seconds=3600))[-1] == ("ok", 1)


def test_what_flickers_is_one_episode() -> None:
    assert set(states_over(HOLDS, *[NOT, NOT, NOT, NOT, HOLDS] * 4)) == {("raised", 1)}


def test_no_data_is_no_recovery_and_no_alarm() -> None:
    assert states_over(NOTHING, HOLDS, *[NOTHING] * 20)[-1] == ("raised", 1)
    assert states_over(HOLDS, *[NOT, NOT, NOT, NOT, NOTHING] * 4)[-1] == ("raised", 1)
    assert states_over(NOT, NOTHING, NOT) == [("ok", 0), ("unknown", 0), ("ok", 0)]


def test_the_second_time_is_another_episode() -> None:
    assert states_over(HOLDS, *[NOT] * 6, HOLDS)[-2:] == [("ok", 1), ("raised", 2)]


def test_each_change_is_told_under_an_id_of_its_own_whoever_tells_it() -> None:
    raised = Standing("raised", NOW, 9, 5, 1)
    event = news(ABOVE, Standing("ok", 0, 1, 5, 0), raised, NOW)
    assert event is not None
    assert isinstance(event.data, AlertRaised)
    assert (event.data.value, event.data.threshold, event.data.episode, event.subject) == (9, 5, 1, "alr_1")
    again = news(ABOVE, None, Standing("raised", NOW + 5, 12, 5, 1), NOW + 5)
    assert again is not None
    assert again.id == event.id
    later = news(ABOVE, None, Standing("raised", NOW, 9, 5, 2), NOW)
    assert later is not None
    resolved = news(ABOVE, raised, Standing("ok", NOW + 5, 1, 5, 1), NOW + 5)
    assert resolved is not None
    assert isinstance(resolved.data, AlertResolved)
    assert (resolved.data.because, resolved.data.episode) == ("recovered", 1)
    assert len({event.id, later.id, resolved.id}) == 3
    assert news(ABOVE, raised, raised, NOW) is None
    assert news(ABOVE, None, Standing("ok", NOW, 1, 5, 0), NOW) is None


@pytest.mark.parametrize(
    ("changes", "because"), [({"enabled": False}, "disabled"), ({"deleted_at": AT, "enabled": False}, "deleted")]
)
def test_an_alert_that_nobody_looks_at_any_more_is_resolved(changes: dict[str, Any], because: str) -> None:
    of = rule(**changes)
    raised = Standing("raised", NOW, 9, 5, 3)
    after = unwatched(raised, NOW + 1)
    assert (after.state, after.episode) == ("unknown", 3)
    event = news(of, raised, after, NOW + 1)
    assert event is not None
    assert isinstance(event.data, AlertResolved)
    assert event.data.because == because
