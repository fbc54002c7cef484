"""Creates every topic of `schemas/topics.yaml` and its dead-letter topics, and checks those that are there already.

`python -m deploy.provision`; safe to repeat. It never changes or deletes a topic: what is wrong is for people to decide.
"""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.kafka import connection
from chassis.settings import KafkaSettings, load_settings
from schemas.topics import DLQ_MAX_BYTES, DLQ_RETENTION, TOPICS, Topic, dlq_name

_REQUEST_TIMEOUT_MS = 30_000
_VISIBLE_WITHIN = 30.0  # seconds; milliseconds on a cluster that is well
# A compacted record stays readable that long after it was overtaken: an owner that starts anew sees every step of it.
_MIN_COMPACTION_LAG = timedelta(hours=1)
# A tombstone outlives every local view that may still hold what it removed (views older than half of it are discarded).
_DELETE_RETENTION = timedelta(hours=25)
_COMPACT_SEGMENT = timedelta(hours=1)  # only closed segments are compacted
_TIMESTAMPS = {"append": "LogAppendTime", "create": "CreateTime"}


class ProvisionSettings(BaseSettings):
    """`PROVISION_*`."""

    model_config = SettingsConfigDict(env_prefix="PROVISION_", extra="ignore")

    replication_factor: int = 3  # survives one broker lost while another is maintained
    min_insync_replicas: int = 2  # an acked record is on two disks


class ProvisionError(Exception):
    """A topic could not be created, or one that exists would lose or misjudge records. One sentence per fault."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic as it must be."""

    name: str
    partitions: int
    configuration: Mapping[str, str]


def wanted(topics: Mapping[str, Topic], min_insync_replicas: int) -> list[Wanted]:
    """Every topic and every dead-letter topic, with its configuration."""
    return [
        Wanted(name, topic.partitions, {**configuration, "min.insync.replicas": str(min_insync_replicas)})
        for topic in topics.values()
        for name, configuration in _with_dead_letters(topic)
    ]


def _with_dead_letters(topic: Topic) -> Iterator[tuple[str, dict[str, str]]]:
    yield topic.name, _configuration(topic)
    for group in topic.dlq:
        yield (
            dlq_name(group, topic),
            {
                "cleanup.policy": "delete",
                "retention.ms": _ms(DLQ_RETENTION),
                "message.timestamp.type": "CreateTime",
                "max.message.bytes": str(DLQ_MAX_BYTES),
            },
        )


def _configuration(topic: Topic) -> dict[str, str]:
    common = {
        "cleanup.policy": topic.cleanup,
        "message.timestamp.type": _TIMESTAMPS[topic.timestamps],
        "max.message.bytes": str(topic.max_bytes),
    }
    if topic.retention is not None:
        return {**common, "retention.ms": _ms(topic.retention)}
    return {
        **common,
        "segment.ms": _ms(_COMPACT_SEGMENT),
        "min.compaction.lag.ms": _ms(_MIN_COMPACTION_LAG),
        "delete.retention.ms": _ms(_DELETE_RETENTION),
    }


def _ms(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))


# Settings that may be larger than wanted, never smaller. Kafka writes "without end" as -1.
_AT_LEAST = ("retention.ms", "max.message.bytes", "min.compaction.lag.ms", "delete.retention.ms")
_EXACTLY = ("cleanup.policy", "message.timestamp.type")


def faults(want: Wanted, partitions: int, found: Mapping[str, str]) -> list[str]:
    """What is wrong with a topic that exists, a sentence each."""
    said: list[str] = []
    if partitions != want.partitions:
        said.append(
            f"{want.name} has {partitions} partitions, it needs {want.partitions}: keep to the SENDARIX_PARTITIONS it was made"
            " with (records and ids name their partition), or name another cluster."
        )
    said += [
        _alter(want.name, name, found.get(name), value, "")
        for name in _EXACTLY
        if (value := want.configuration[name]) != found.get(name)
    ]
    said += [
        _alter(want.name, name, found.get(name), least, " or more")
        for name in _AT_LEAST
        if (least := want.configuration.get(name)) is not None and _less(found.get(name), least)
    ]
    return said


def _alter(topic: str, setting: str, found: str | None, value: str, more: str) -> str:
    return f"{topic} has {setting}={found}, it needs {value}{more}: alter it with Kafka's own tools, or name another cluster."


def _less(found: str | None, value: str) -> bool:
    return found is None or (int(found) != -1 and int(found) < int(value))


async def provision(kafka: KafkaSettings, settings: ProvisionSettings) -> tuple[int, int]:
    """Create what is missing and check what is there; returns how many of each. Raises ProvisionError."""
    admin = AIOKafkaAdminClient(**connection(kafka), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return await _provision(admin, wanted(TOPICS, settings.min_insync_replicas), settings.replication_factor)
    except KafkaError as error:
        raise ProvisionError(
            f"Kafka at {kafka.bootstrap_servers} did not do it ({error}): check KAFKA_BOOTSTRAP_SERVERS and the broker."
        ) from error
    finally:
        await admin.close()


async def _provision(admin: AIOKafkaAdminClient, topics: Sequence[Wanted], replicas: int) -> tuple[int, int]:
    there = set(await admin.list_topics())
    created = await _create(admin, [topic for topic in topics if topic.name not in there], replicas)
    await _await_visible(admin, {topic.name for topic in topics})
    if said := await _check(admin, topics):  # also those that another provisioner made meanwhile
        raise ProvisionError("\n".join(said))
    return created, len(topics) - created


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[Wanted], replicas: int) -> int:
    if not topics:
        return 0
    asked = [
        NewTopic(topic.name, topic.partitions, replicas, topic_configs=dict(topic.configuration)) for topic in topics
    ]
    created = 0
    for name, code, *said in (await admin.create_topics(asked)).topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise ProvisionError(
                f"{name} could not be created ({(said or [None])[0] or error.__name__}): check the cluster."
            )
        created += not code
    return created


async def _await_visible(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Brokers learn of a new topic a little later than its maker."""
    missing = names
    try:
        async with asyncio.timeout(_VISIBLE_WITHIN):
            while missing := names - set(await admin.list_topics()):  # noqa: ASYNC110 — Kafka tells of no change
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise ProvisionError(f"{min(missing)} was created but is not there: check the cluster.") from error


async def _check(admin: AIOKafkaAdminClient, topics: Sequence[Wanted]) -> list[str]:
    names = [topic.name for topic in topics]
    partitions = {found["topic"]: len(found["partitions"]) for found in await admin.describe_topics(names)}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    configurations: dict[str, dict[str, str]] = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }
    return [fault for topic in topics for fault in faults(topic, partitions[topic.name], configurations[topic.name])]


def main() -> int:
    kafka, settings = load_settings(KafkaSettings), load_settings(ProvisionSettings)
    try:
        created, checked = asyncio.run(provision(kafka, settings))
    except ProvisionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{created} topics created, {checked} found as they must be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
