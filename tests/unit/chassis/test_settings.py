"""A bad environment stops a process before it has done anything, with every fault at once (R24)."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from chassis.kafka import connection, request_timeout_ms
from chassis.settings import Durations, KafkaSettings, ServiceSettings, Words, load_settings


class DemoSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="DEMO_")

    ladder: Durations = Field(default_factory=list)
    words: Words = Field(default_factory=list)


def test_reads_what_people_write(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "8080", "LADDER": "30s, 5m,1.5h", "WORDS": "a, b,", "STATE_DIR": "/x"}.items():
        monkeypatch.setenv(f"DEMO_{name}", value)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:1")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT", "6s")
    settings = load_settings(DemoSettings)
    assert settings.port == 8080
    assert settings.ladder == [timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1.5)]
    assert settings.words == ["a", "b"]
    assert settings.state_dir == Path("/x")
    assert (settings.kafka.bootstrap_servers, settings.kafka.session_timeout) == ("k:1", timedelta(seconds=6))


def test_names_every_fault_and_exits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DEMO_LADDER", "soon")
    monkeypatch.setenv("DEMO_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as stopped:
        load_settings(DemoSettings)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert all(name in told for name in ("DEMO_PORT", "DEMO_LADDER", "DEMO_LOG_LEVEL"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_ACKS", "1"),
        ("KAFKA_ENABLE_IDEMPOTENCE", "false"),
        ("KAFKA_ENABLE_AUTO_COMMIT", "true"),
        ("KAFKA_AUTO_OFFSET_RESET", "latest"),
    ],
)
def test_d5_a_client_that_would_lose_mail_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """D5: nothing starts, and whoever set it is told which word of his it was."""
    monkeypatch.setenv("DEMO_PORT", "8080")
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load_settings(DemoSettings)
    assert stopped.value.code == 2
    assert name in capsys.readouterr().err


def test_how_clients_reach_the_brokers() -> None:
    plain = KafkaSettings.model_validate({"bootstrap_servers": "k:1"})
    assert connection(plain) == {"bootstrap_servers": "k:1", "security_protocol": "PLAINTEXT"}
    assert request_timeout_ms(plain) == 5000
    secured = {"security_protocol": "SASL_SSL", "sasl_username": "u", "sasl_password": "hidden"}
    arguments = connection(KafkaSettings.model_validate(secured))
    assert arguments["ssl_context"].check_hostname
    assert (arguments["sasl_mechanism"], arguments["sasl_plain_username"]) == ("SCRAM-SHA-512", "u")
    assert arguments["sasl_plain_password"] == "hidden"
    assert "hidden" not in repr(KafkaSettings.model_validate(secured))
