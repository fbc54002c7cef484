"""What may be asked of an alert (R34)."""

from typing import Any

import pytest

from schemas.alerts import AlertRule, AlertState
from services.ingest.domain.alerts import NEW, AlertSettings, alert_shown, read_alert, rule_shown, settings_of
from services.ingest.domain.faults import Refused

FIVE_TIMES = {
    "name": "security",
    "measure": "queued",
    "filters": {"tag": "security-alert"},
    "condition": {"times": 5, "baseline_seconds": 3600},
}
FRAME = {"id": "alr_1", "project_id": "prj_1", "version": 1, "updated_by": "key_1"} | dict.fromkeys(
    ("created_at", "updated_at"), "2026-01-01T00:00:00.000Z"
)


def faults_of(body: dict[str, Any], before: AlertSettings = NEW) -> set[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        read_alert(body, before)
    return {(fault.field, fault.code) for fault in refused.value.faults}


def rule(**changes: Any) -> AlertRule:
    return AlertRule.model_validate(FRAME | read_alert(FIVE_TIMES | changes, NEW).content())


def test_a_rule_is_shown_as_it_was_given_with_its_defaults() -> None:
    shown = rule_shown(rule())
    assert {name: shown[name] for name in ("name", "measure", "condition")} == {
        name: FIVE_TIMES[name] for name in ("name", "measure", "condition")
    }
    assert (shown["window_seconds"], shown["minimum"], shown["enabled"]) == (300, 20, True)
    assert shown["filters"]["tag"] == "security-alert"
    assert shown["filters"]["environment"] == "live"


def test_a_number_of_messages_in_the_condition_needs_no_minimum_beside_it() -> None:
    assert rule(condition={"above": 5}).minimum == 0
    assert rule(condition={"below": 5}).minimum == 0
    assert rule(measure="bounce_rate", condition={"above": 0.05}).minimum == 20
    assert rule(condition={"above": 5}, minimum=7).minimum == 7


def test_a_change_leaves_the_rest() -> None:
    before = settings_of(rule())
    assert read_alert({}, before) == before
    changed = read_alert({"enabled": False, "filters": None}, before)
    assert (changed.enabled, changed.filters.tag, changed.condition) == (False, None, before.condition)


def test_all_faults_at_once() -> None:
    body = {
        "name": "",
        "measure": "opened",
        "filters": {"tag": "a b", "channel": "fax", "path": "mx:none", "color": "red", "recipient_domain": 3},
        "window_seconds": 5,
        "condition": {"above": 1, "below": 2},
        "minimum": -1,
        "enabled": "yes",
        "colour": 1,
    }
    assert faults_of(body) == {
        ("name", "required"),
        ("measure", "invalid_value"),
        ("filters.tag", "invalid_value"),
        ("filters.channel", "invalid_value"),
        ("filters.path", "invalid_value"),
        ("filters.color", "unknown_field"),
        ("filters.recipient_domain", "invalid_value"),
        ("window_seconds", "invalid_value"),
        ("condition", "conflict"),
        ("minimum", "invalid_value"),
        ("enabled", "invalid_type"),
        ("colour", "unknown_field"),
    }


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"condition": {}}, ("condition", "required")),
        ({"condition": []}, ("condition", "invalid_type")),
        ({"condition": {"above": "5"}}, ("condition.above", "invalid_value")),
        ({"condition": {"above": 5, "baseline_seconds": 600}}, ("condition.baseline_seconds", "conflict")),
        ({"condition": {"times": 0.5}}, ("condition.times", "invalid_value")),
        (
            {"window_seconds": 900, "condition": {"times": 5, "baseline_seconds": 600}},
            ("condition.baseline_seconds", "invalid_value"),
        ),
        ({"measure": "bounce_rate", "condition": {"above": 5}}, ("condition.above", "invalid_value")),
        ({"condition": {"below": 5}, "minimum": 20}, ("minimum", "conflict")),
    ],
)
def test_conditions_that_say_nothing(changes: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults_of(FIVE_TIMES | changes) == {fault}


def test_what_is_needed_is_asked_for() -> None:
    assert faults_of({}) == {("name", "required"), ("measure", "required"), ("condition", "required")}


def test_how_it_stands_is_what_analytics_said_and_nothing_while_it_is_off() -> None:
    at = "2026-01-01T00:00:00.000Z"
    state = AlertState(
        rule_id="alr_1", project_id="prj_1", state="raised", since=at, value=9, threshold=5, episode=1, evaluated_at=at
    )
    on, off = rule_shown(rule()), rule_shown(rule(enabled=False))
    assert alert_shown(on, state) == on | {"state": "raised", "since": at, "value": 9, "evaluated_at": at}
    for shown in (alert_shown(on, None), alert_shown(off, state)):
        assert (shown["state"], shown["value"]) == ("unknown", None)
