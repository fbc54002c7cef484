"""What may be asked of a policy (R21, R22)."""

from typing import Any

import pytest

from schemas.routing import Policy
from services.ingest.domain.faults import Refused
from services.ingest.domain.policies import NEW, PolicySettings, policy_shown, read_policy, settings_of
from services.ingest.domain.versions import INSTALLATION

CODES = {"name": "codes", "tags": ["otp"], "retry_schedule": ["5s", "1m"], "max_age": "10m", "tls": "required"}


def faults_of(body: dict[str, Any], owner: str = "prj_1") -> set[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        read_policy(body, NEW, owner)
    return {(fault.field, fault.code) for fault in refused.value.faults}


def test_durations_are_read_and_shown_as_people_write_them() -> None:
    found = read_policy(CODES, NEW, "prj_1")
    assert (found.retry_schedule_ms, found.max_age_ms) == ((5000, 60_000), 600_000)
    frame = {"id": "pol_1", "project_id": "prj_1", "version": 1, "updated_by": "key_1"}
    times = dict.fromkeys(("created_at", "updated_at"), "2026-01-01T00:00:00.000Z")
    policy = Policy.model_validate(frame | times | found.content())
    assert settings_of(policy) == found
    shown = policy_shown(policy)
    assert {name: shown[name] for name in CODES} == CODES


def test_a_change_leaves_the_rest() -> None:
    before = read_policy(CODES, NEW, "prj_1")
    assert read_policy({}, before, "prj_1") == before
    changed = read_policy({"max_age": None, "retry_schedule": None}, before, "prj_1")
    assert (changed.max_age_ms, changed.retry_schedule_ms, changed.tags) == (None, None, ("otp",))


def test_all_faults_at_once() -> None:
    body = {
        "name": "",
        "provider_groups": ["Google!"],
        "recipient_domains": ["a b"],
        "tags": "otp",
        "retry_schedule": ["5s", "soon"],
        "max_age": "6d",
        "tls": "never",
        "connections": 0,
        "messages_per_connection": True,
        "per_second": "fast",
        "color": 1,
    }
    assert faults_of(body, INSTALLATION) == {
        ("name", "required"),
        ("provider_groups[0]", "invalid_value"),
        ("recipient_domains[0]", "invalid_value"),
        ("tags", "invalid_type"),
        ("retry_schedule[1]", "invalid_value"),
        ("max_age", "invalid_value"),
        ("tls", "invalid_value"),
        ("connections", "invalid_value"),
        ("messages_per_connection", "invalid_value"),
        ("per_second", "invalid_value"),
        ("color", "unknown_field"),
    }


@pytest.mark.parametrize("age", ["0s", "500ms", 600, "", "999999999999999999d"])
def test_no_age(age: Any) -> None:
    assert faults_of({"name": "x", "max_age": age}) == {("max_age", "invalid_value")}


@pytest.mark.parametrize("name", ["connections", "messages_per_connection", "per_second"])
def test_pace_is_the_installations(name: str) -> None:
    """Addresses are shared by all projects: a limit of one would be a limit of all, and is refused, not ignored."""
    assert faults_of({"name": "x", name: 5}) == {(name, "conflict")}
    found: PolicySettings = read_policy({"name": "x", name: 5}, NEW, INSTALLATION)
    assert getattr(found, name) == 5
