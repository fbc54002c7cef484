"""What may be asked of a project, and what its plan grants (R14)."""

from typing import Any

import pytest

from schemas.tables import Project
from services.ingest.domain.faults import Refused
from services.ingest.domain.projects import (
    ProjectSettings,
    project_shown,
    read_project,
    requests_per_minute_of,
    settings_of,
)

PROJECT = Project(id="prj_1", name="Shop", default_from=None, created_at="2026-01-01T00:00:00.000Z")
ENTERPRISE = ProjectSettings("Shop", "Shop <a@shop.example>", "enterprise", 20_000, ("news",))


def faults_of(body: dict[str, Any], before: ProjectSettings | None = None) -> tuple[str, set[tuple[str, str]]]:
    with pytest.raises(Refused) as refused:
        read_project(body) if before is None else read_project(body, before)
    return refused.value.code, {(fault.field, fault.code) for fault in refused.value.faults}


def test_a_name_is_enough() -> None:
    assert read_project({"name": "Shop"}) == ProjectSettings("Shop", None, "standard", None, ())


def test_all_of_it() -> None:
    body = {
        "name": "Shop",
        "plan": "enterprise",
        "requests_per_minute": 20_000,
        "from": "Shop <a@shop.example>",
        "unsubscribe_tags": ["news"],
    }
    assert read_project(body) == ENTERPRISE
    assert read_project(body | {"unsubscribe_tags": "*"}).unsubscribe_tags == ("*",)
    assert read_project(body | {"unsubscribe_tags": ["*"]}).unsubscribe_tags == ("*",)


def test_a_change_leaves_the_rest() -> None:
    assert read_project({}, ENTERPRISE) == ENTERPRISE
    assert read_project({"name": "New"}, ENTERPRISE) == ProjectSettings("New", *_rest(ENTERPRISE))
    assert read_project({"from": None}, ENTERPRISE).default_from is None
    assert read_project({"unsubscribe_tags": None}, ENTERPRISE).unsubscribe_tags == ()
    smaller = read_project({"plan": "standard"}, ENTERPRISE)
    assert (smaller.plan, smaller.requests_per_minute) == ("standard", None)


def _rest(settings: ProjectSettings) -> tuple[Any, ...]:
    return (settings.default_from, settings.plan, settings.requests_per_minute, settings.unsubscribe_tags)


def test_all_faults_at_once() -> None:
    body = {"name": "", "plan": "gold", "from": "x", "unsubscribe_tags": ["a b"], "color": 1}
    assert faults_of(body) == (
        "validation_error",
        {
            ("name", "required"),
            ("plan", "invalid_value"),
            ("from", "invalid_address"),
            ("unsubscribe_tags[0]", "invalid_tag"),
            ("color", "unknown_field"),
        },
    )


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "1000", 10_000_001])
def test_numbers_of_an_enterprise(number: Any) -> None:
    body = {"name": "x", "plan": "enterprise", "requests_per_minute": number}
    assert faults_of(body) == ("validation_error", {("requests_per_minute", "invalid_value")})


def test_a_plan_and_its_number() -> None:
    required = ("validation_error", {("requests_per_minute", "required")})
    assert faults_of({"name": "x", "plan": "enterprise"}) == required
    assert faults_of({"name": "x", "requests_per_minute": 5})[1] == {("requests_per_minute", "conflict")}
    assert faults_of({"plan": "standard", "requests_per_minute": 5}, ENTERPRISE)[1] == {
        ("requests_per_minute", "conflict")
    }


@pytest.mark.parametrize(
    ("asked", "kept", "shown"),
    [
        (["30s", "5m", "2h"], (30_000, 300_000, 7_200_000), ["30s", "5m", "2h"]),
        (["90s", "60m", "1d", "1.5s"], (90_000, 3_600_000, 86_400_000, 1_500), ["90s", "1h", "24h", "1.5s"]),
        (["1s"] * 20, (1_000,) * 20, ["1s"] * 20),
        (["48h", "48h", "24h"], (172_800_000, 172_800_000, 86_400_000), ["48h", "48h", "24h"]),
        (None, None, None),
    ],
)
def test_a_retry_schedule_is_kept_and_shown(asked: Any, kept: Any, shown: Any) -> None:  # R22
    settings = read_project({"name": "x", "retry_schedule": asked})
    assert settings.retry_schedule_ms == kept
    waits = None if kept is None else list(kept)
    stored = PROJECT.model_copy(update={"retry_schedule_ms": waits})
    assert project_shown(stored)["retry_schedule"] == shown
    assert read_project({}, settings_of(stored)).retry_schedule_ms == kept  # what a change does not name stays
    assert read_project({"retry_schedule": None}, settings_of(stored)).retry_schedule_ms is None


@pytest.mark.parametrize(
    ("asked", "field", "code"),
    [
        ([], "retry_schedule", "required"),
        (["1s"] * 21, "retry_schedule", "too_many"),
        ("30s", "retry_schedule", "invalid_type"),
        (["30s", "0.9s"], "retry_schedule[1]", "invalid_value"),
        (["48h", "49h"], "retry_schedule[1]", "invalid_value"),
        (["30"], "retry_schedule[0]", "invalid_value"),
        ([30], "retry_schedule[0]", "invalid_value"),
        (["9" * 400 + "d"], "retry_schedule[0]", "invalid_value"),
        (["48h", "48h", "24h", "1s"], "retry_schedule", "invalid_value"),  # more than 5 days
    ],
)
def test_a_retry_schedule_that_is_none(asked: Any, field: str, code: str) -> None:  # R22
    assert faults_of({"name": "x", "retry_schedule": asked}) == ("validation_error", {(field, code)})


def test_what_a_plan_grants() -> None:
    big = PROJECT.model_copy(update={"plan": "enterprise", "requests_per_minute": 20_000})
    assert [requests_per_minute_of(project) for project in (None, PROJECT, big)] == [1000, 1000, 20_000]
    assert project_shown(PROJECT)["requests_per_minute"] == 1000
