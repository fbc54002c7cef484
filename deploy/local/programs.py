"""What the supervisor runs: each process's command and environment. Values only."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.credentials import Credentials
from deploy.local.layout import HOST, Layout
from deploy.local.settings import StackSettings
from schemas.topics import POOLS

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep running."""

    service: str
    replica: int
    url: str  # where it listens; services answer HTTP there
    command: tuple[str, ...]
    environment: Mapping[str, str]  # on top of the supervisor's own
    log_file: Path

    @property
    def name(self) -> str:
        return f"{self.service} {self.replica}"


def kafka_program(layout: Layout, command: list[str]) -> Program:
    address = layout.kafka.bootstrap_servers
    return Program("kafka", 1, f"kafka://{address}", tuple(command), {}, layout.log_file("kafka"))


def mailbox_program(layout: Layout) -> Program:
    environment = {"MAILBOX_PORT": str(layout.mailbox_port), "MAILBOX_FOLDER": str(layout.run_dir)}
    command = (sys.executable, "-m", "deploy.local.mailbox")
    return Program("mailbox", 1, f"smtp://{layout.mailbox}", command, environment, layout.log_file("mailbox"))


def service_programs(layout: Layout, settings: StackSettings, credentials: Credentials) -> Iterator[Program]:
    """The five services, each as often as asked for; senders as often for each pool."""
    for service, count in settings.processes.items():
        own = _OWN[service](layout, settings, credentials)
        for replica in range(1, count + 1):
            if service == "sender":
                own["SENDER_POOL"] = POOLS[(replica - 1) // settings.replicas["sender"]]
            yield Program(
                service,
                replica,
                layout.url(service, replica),
                (sys.executable, "-m", f"services.{service}"),
                {**_shared(layout), **_common(layout, service, replica), **own},
                layout.log_file(service, replica),
            )


def _shared(layout: Layout) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": layout.kafka.bootstrap_servers,
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        "KAFKA_SESSION_TIMEOUT": "6s",  # a killed service's work is taken over while a person still looks
    }


def _common(layout: Layout, service: str, replica: int) -> dict[str, str]:
    fields = {
        "HOST": HOST,
        "PORT": str(layout.port(service, replica)),
        "INSTANCE": str(replica),
        "STATE_DIR": str(layout.state_dir(service, replica)),
    }
    return {f"{service.upper()}_{name}": value for name, value in fields.items()}


def _ingest(layout: Layout, settings: StackSettings, credentials: Credentials) -> dict[str, str]:
    return {
        "INGEST_ANALYTICS_URL": layout.url("analytics", 1),
        "INGEST_INTERNAL_SECRET": credentials.internal_secret,
        "INGEST_MESSAGE_ID_SECRETS": f"1:{credentials.message_id_secret}",
        "INGEST_SEALING_KEYS": credentials.sealing_key,
        "INGEST_REPLICAS": str(settings.replicas["ingest"]),
        "INGEST_ALLOW_LOOPBACK_WEBHOOKS": "true",
        "INGEST_ALLOW_PRIVATE_UPSTREAMS": "true",
        "INGEST_BLOB_URL": str(layout.blobs),
        **_given("INGEST_IDEMPOTENCY_WINDOW", settings.idempotency_window),
    }


def _router(_layout: Layout, settings: StackSettings, _credentials: Credentials) -> dict[str, str]:
    return {
        **_given("ROUTER_RETRY_SCHEDULE", settings.retry_schedule),
        **_given("ROUTER_FEEDBACK_WINDOW", settings.feedback_window),
    }


def _sender(layout: Layout, settings: StackSettings, credentials: Credentials) -> dict[str, str]:
    return {
        "SENDER_UPSTREAM": settings.upstream or layout.mailbox,
        "SENDER_BLOB_URL": str(layout.blobs),
        "SENDER_SEALING_KEYS": credentials.sealing_key,
        # Shorter than in production, as the session time-out is: what became of a killed sender's attempt is known sooner.
        "SENDER_ATTEMPT_DEADLINE": "10s",
        "SENDER_DEADLINE_MARGIN": "1s",
    }


def _webhooks(_layout: Layout, _settings: StackSettings, credentials: Credentials) -> dict[str, str]:
    return {"WEBHOOKS_SEALING_KEYS": credentials.sealing_key, "WEBHOOKS_ALLOW_LOOPBACK": "true"}


def _analytics(layout: Layout, _settings: StackSettings, credentials: Credentials) -> dict[str, str]:
    return {
        "ANALYTICS_CLICKHOUSE_URL": f"chdb://{layout.clickhouse}",
        "ANALYTICS_INTERNAL_SECRET": credentials.internal_secret,
    }


def _given(name: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {name: value}


_OWN = {"ingest": _ingest, "router": _router, "sender": _sender, "webhooks": _webhooks, "analytics": _analytics}
