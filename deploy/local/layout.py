"""Where everything of one local stack is: folders under RUN_DIR, ports from PORT_BASE on. Values only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.kafka import KafkaPlace
from deploy.local.settings import MAX_REPLICAS, SERVICES, StackSettings, load_settings

HOST = "127.0.0.1"
_KAFKA, _CONTROLLER, _MAILBOX = 50, 51, 52  # offsets from PORT_BASE, behind ten for each service


@dataclass(frozen=True, slots=True)
class Layout:
    """One stack's places."""

    run_dir: Path
    port_base: int

    @classmethod
    def of(cls, settings: StackSettings) -> "Layout":
        return cls(settings.run_dir, settings.port_base)

    def port(self, service: str, replica: int) -> int:
        return self.port_base + SERVICES.index(service) * MAX_REPLICAS + replica - 1

    def url(self, service: str, replica: int) -> str:
        return f"http://{HOST}:{self.port(service, replica)}"

    def log_file(self, service: str, replica: int = 1) -> Path:
        return self.logs / f"{service}-{replica}.log"

    def state_dir(self, service: str, replica: int) -> Path:
        return self.run_dir / "state" / f"{service}-{replica}"

    @property
    def kafka(self) -> KafkaPlace:
        return KafkaPlace(self.run_dir / "kafka", self.port_base + _KAFKA, self.port_base + _CONTROLLER)

    @property
    def mailbox_port(self) -> int:
        return self.port_base + _MAILBOX

    @property
    def mailbox(self) -> str:
        return f"{HOST}:{self.mailbox_port}"

    @property
    def logs(self) -> Path:
        return self.run_dir / "logs"

    @property
    def clickhouse(self) -> Path:
        return self.run_dir / "clickhouse"

    @property
    def blobs(self) -> Path:
        """Large content: ingest writes it, the sender reads it."""
        return self.run_dir / "blobs"

    @property
    def secrets(self) -> Path:
        return self.run_dir / "secrets.json"

    @property
    def seeded(self) -> Path:
        """Lies beside Kafka's data, so that it goes with them."""
        return self.kafka.folder / "seeded"

    @property
    def stack_json(self) -> Path:
        return self.run_dir / "stack.json"

    @property
    def shell_file(self) -> Path:
        """What a shell may source: SENDARIX_URL and SENDARIX_API_KEY."""
        return self.run_dir / "env"

    @property
    def running_settings(self) -> Path:
        """The knobs the running stack was started with."""
        return self.run_dir / "settings.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives; holds its pid. Also the mark by which a folder is known as ours."""
        return self.run_dir / "supervisor.lock"

    @property
    def starting(self) -> Path:
        """Held by one `make up` at a time."""
        return self.run_dir / "up.lock"

    def ports(self, settings: StackSettings) -> Iterator[tuple[int, str]]:
        """Each port the stack will listen on, and who will."""
        yield self.kafka.port, "Kafka"
        yield self.kafka.controller_port, "Kafka's controller"
        yield self.mailbox_port, "the mailbox"
        for service, count in settings.processes.items():
            for replica in range(1, count + 1):
                yield self.port(service, replica), f"{service} {replica}"


def run_dir() -> Path:
    """RUN_DIR, absolute. Raises CannotRunError where a knob is wrong."""
    return load_settings().run_dir
