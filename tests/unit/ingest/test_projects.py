"""What may be asked of a project, and what its plan grants (R14)."""

from typing import Any

import pytest

from schemas.tables import Project
from services.ingest.domain.faults import Refused
from services.ingest.domain.projects import ProjectSettings, project_shown, read_project, requests_per_minute_of

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


def test_what_is_not_built_is_never_ignored() -> None:
    body = {"name": "x", "retry_schedule": ["30s"]}
    assert faults_of(body) == ("unsupported_field", {("retry_schedule", "unsupported_field")})


def test_what_a_plan_grants() -> None:
    big = PROJECT.model_copy(update={"plan": "enterprise", "requests_per_minute": 20_000})
    assert [requests_per_minute_of(project) for project in (None, PROJECT, big)] == [1000, 1000, 20_000]
    assert project_shown(PROJECT)["requests_per_minute"] == 1000
