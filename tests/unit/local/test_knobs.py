"""What `make up` may be told, and what it answers to nonsense (issue: one sentence that says what to do)."""

from pathlib import Path

import pytest

from deploy.local.failure import CannotRunError
from deploy.local.settings import SERVICES, StackSettings, load_settings, parse_replicas


def test_services_that_are_not_named_run_once() -> None:
    assert parse_replicas("ingest=2 router=3") == {"ingest": 2, "router": 3, "sender": 1, "webhooks": 1, "analytics": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("smtp=2", "'smtp' is no service"),
        ("ingest", "'ingest' is no count"),
        ("ingest=0", "'ingest=0' is no count"),
        ("ingest=11", "'ingest=11' is no count"),
        ("ingest=-1", "'ingest=-1' is no count"),
        ("analytics=2", "analytics runs once"),
    ],
)
def test_a_wrong_count_is_told(text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICAS", text)
    with pytest.raises(CannotRunError, match=f"^REPLICAS: .*{says}"):
        load_settings()


@pytest.mark.parametrize(
    ("knob", "text"),
    [
        ("UPSTREAM", "mail.example"),
        ("UPSTREAM", "mail.example:0"),
        ("UPSTREAM", ":25"),
        ("RETRY_SCHEDULE", "1s,soon"),
        ("RETRY_SCHEDULE", "1s,,2s"),
        ("IDEMPOTENCY_WINDOW", "5"),
        ("FEEDBACK_WINDOW", "-1d"),
        ("PORT_BASE", "80"),
        ("PORT_BASE", "65500"),
        ("PORT_BASE", "x"),
    ],
)
def test_other_nonsense_names_its_knob(knob: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knob, text)
    with pytest.raises(CannotRunError, match=f"^{knob}: "):
        load_settings()


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM", "x")
    monkeypatch.setenv("PORT_BASE", "1")
    with pytest.raises(CannotRunError, match=r"UPSTREAM: .*; PORT_BASE: "):
        load_settings()


def test_an_empty_knob_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for knob in ("REPLICAS", "UPSTREAM", "RETRY_SCHEDULE", "PORT_BASE", "RUN_DIR"):
        monkeypatch.setenv(knob, "")
    settings = load_settings()
    assert settings.replicas == dict.fromkeys(SERVICES, 1)
    assert settings.upstream is None
    assert settings.run_dir.name == ".run"


def test_a_relative_run_dir_starts_at_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_DIR", "elsewhere/stack")
    assert load_settings().run_dir == Path(__file__).parents[3] / "elsewhere" / "stack"


def test_only_knobs_that_were_turned_can_differ_from_a_running_stack() -> None:
    running = StackSettings(replicas={**dict.fromkeys(SERVICES, 1), "router": 2}, retry_schedule="1s", port_base=20000)
    assert StackSettings().differences(running) == []
    assert StackSettings(retry_schedule="1s").differences(running) == []
    assert StackSettings(retry_schedule="2s", port_base=21000).differences(running) == ["PORT_BASE", "RETRY_SCHEDULE"]


def test_settings_survive_the_file_they_are_kept_in() -> None:
    settings = StackSettings(replicas=dict.fromkeys(SERVICES, 1), upstream="127.0.0.1:2525", retry_schedule="1s,2s")
    assert StackSettings.model_validate_json(settings.model_dump_json()) == settings
