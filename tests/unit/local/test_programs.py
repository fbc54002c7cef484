"""What each process is told: the knobs reach the services that they are for."""

import importlib
from pathlib import Path

import pytest

from chassis.settings import ServiceSettings
from deploy.local.credentials import load_or_create
from deploy.local.layout import Layout
from deploy.local.programs import Program, service_programs
from deploy.local.settings import SERVICES, StackSettings


def programs(tmp_path: Path, settings: StackSettings) -> dict[str, Program]:
    credentials = load_or_create(tmp_path / "secrets.json", 0)
    return {p.name: p for p in service_programs(Layout(tmp_path, 20000), settings, credentials)}


def test_each_service_runs_as_often_as_asked(tmp_path: Path) -> None:
    counts = {**dict.fromkeys(SERVICES, 2), "analytics": 1}
    assert set(programs(tmp_path, StackSettings(replicas=counts))) == {
        f"{service} {replica}" for service, count in counts.items() for replica in range(1, count + 1)
    }


def test_knobs_reach_their_services(tmp_path: Path) -> None:
    found = programs(
        tmp_path,
        StackSettings(upstream="127.0.0.1:2525", retry_schedule="1s,2s", idempotency_window="5s", feedback_window="1m"),
    )
    assert found["router 1"].environment["ROUTER_RETRY_SCHEDULE"] == "1s,2s"
    assert found["router 1"].environment["ROUTER_FEEDBACK_WINDOW"] == "1m"
    assert found["ingest 1"].environment["INGEST_IDEMPOTENCY_WINDOW"] == "5s"
    assert found["sender 1"].environment["SENDER_UPSTREAM"] == "127.0.0.1:2525"


def test_mail_goes_to_the_mailbox_where_no_upstream_is_given(tmp_path: Path) -> None:
    mailbox = Layout(tmp_path, 20000).mailbox
    for upstream, live in ((None, mailbox), ("127.0.0.1:2525", "127.0.0.1:2525")):
        sender = programs(tmp_path, StackSettings(upstream=upstream))["sender 1"].environment
        assert sender["SENDER_UPSTREAM"] == live


def test_unset_knobs_leave_a_service_its_own_default(tmp_path: Path) -> None:
    found = programs(tmp_path, StackSettings())
    assert "ROUTER_RETRY_SCHEDULE" not in found["router 1"].environment
    assert "INGEST_IDEMPOTENCY_WINDOW" not in found["ingest 1"].environment


def test_secrets_are_shared_by_those_who_must_agree_and_by_no_others(tmp_path: Path) -> None:
    found = {name: program.environment for name, program in programs(tmp_path, StackSettings()).items()}
    assert found["ingest 1"]["INGEST_INTERNAL_SECRET"] == found["analytics 1"]["ANALYTICS_INTERNAL_SECRET"]
    assert found["ingest 1"]["INGEST_SEALING_KEYS"] == found["webhooks 1"]["WEBHOOKS_SEALING_KEYS"]
    assert found["ingest 1"]["INGEST_SEALING_KEYS"] == found["sender 1"]["SENDER_SEALING_KEYS"]
    assert not [name for name in found["router 1"] if "SECRET" in name or "SEALING" in name]
    assert not [name for name in found["sender 1"] if "SECRET" in name]


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_stands_on_a_command_line(service: str, tmp_path: Path) -> None:
    credentials = load_or_create(tmp_path / "secrets.json", 0)
    command = " ".join(programs(tmp_path, StackSettings())[f"{service} 1"].command)
    assert credentials.sealing_key not in command
    assert credentials.internal_secret not in command


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_one_the_service_knows(service: str, tmp_path: Path) -> None:
    """A name that nobody reads would be a knob that does nothing."""
    settings = _settings_of(service)
    environment = programs(tmp_path, StackSettings(retry_schedule="1s", idempotency_window="1m", feedback_window="1d"))
    prefix = f"{service.upper()}_"
    given = {name for name in environment[f"{service} 1"].environment if name.startswith(prefix)}
    assert given <= {prefix + field.upper() for field in settings.model_fields}


def _settings_of(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"services.{service}.settings")
    (found,) = (
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, ServiceSettings) and each is not ServiceSettings
    )
    return found
