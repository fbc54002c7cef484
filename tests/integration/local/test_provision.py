"""The provisioner on a real broker: idempotent, and it refuses what would lose or misjudge records."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from chassis.settings import KafkaSettings
from deploy.provision import ProvisionError, ProvisionSettings, Wanted, provision, wanted
from schemas.topics import TOPICS
from tests.kit.broker import Broker

_ONE = ProvisionSettings(replication_factor=1, min_insync_replicas=1)
_WANTED = {topic.name: topic for topic in wanted(TOPICS, 1)}
_IDEMPOTENCY = _WANTED[TOPICS["idempotency"].name]


@pytest.fixture
async def admin(own_broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=own_broker.bootstrap_servers)
    await client.start()
    yield client
    await client.close()


async def _alter(admin: AIOKafkaAdminClient, topic: Wanted, changes: dict[str, str] | None = None) -> None:
    """Set the topic's configuration to what is wanted with `changes`, and wait until the broker shows it."""
    configuration = {**topic.configuration, **(changes or {})}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, configuration)])
    async with asyncio.timeout(10):
        while configuration.items() - (await _configuration(admin, topic.name)).items():
            await asyncio.sleep(0.02)


async def _configuration(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def _provision(broker: Broker) -> tuple[int, int]:
    return await provision(KafkaSettings(bootstrap_servers=broker.bootstrap_servers), _ONE)


async def test_all_topics_are_there_and_a_second_run_changes_nothing(
    own_broker: Broker, admin: AIOKafkaAdminClient
) -> None:
    """The fixture has provisioned once."""
    assert set(_WANTED) <= set(await admin.list_topics())
    assert await _provision(own_broker) == (0, len(_WANTED))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("cleanup.policy", "compact"), ("message.timestamp.type", "CreateTime"), ("retention.ms", "3600000")],
)
async def test_a_wrong_setting_is_refused(
    own_broker: Broker, admin: AIOKafkaAdminClient, setting: str, value: str
) -> None:
    await _alter(admin, _IDEMPOTENCY, {setting: value})
    try:
        with pytest.raises(ProvisionError, match=f"^{_IDEMPOTENCY.name} has {setting}={value}, it needs "):
            await _provision(own_broker)
    finally:
        await _alter(admin, _IDEMPOTENCY)
    assert await _provision(own_broker) == (0, len(_WANTED))


async def test_a_missing_topic_is_made_and_too_few_partitions_are_refused(
    own_broker: Broker, admin: AIOKafkaAdminClient
) -> None:
    name = _IDEMPOTENCY.name
    await _delete(admin, name)
    await admin.create_topics([NewTopic(name, 3, 1, topic_configs=dict(_IDEMPOTENCY.configuration))])
    with pytest.raises(ProvisionError, match=f"^{name} has 3 partitions, it needs {_IDEMPOTENCY.partitions}"):
        await _provision(own_broker)
    await _delete(admin, name)
    assert await _provision(own_broker) == (1, len(_WANTED) - 1)


async def _delete(admin: AIOKafkaAdminClient, name: str) -> None:
    await admin.delete_topics([name])
    async with asyncio.timeout(10):
        while name in await admin.list_topics():
            await asyncio.sleep(0.02)


def _run(bootstrap_servers: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.provision"],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": ".", "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_on_the_command_line_a_fault_is_a_sentence_and_exit_1(
    own_broker: Broker, admin: AIOKafkaAdminClient
) -> None:
    await _alter(admin, _IDEMPOTENCY, {"retention.ms": "1000"})
    try:
        done = _run(own_broker.bootstrap_servers, PROVISION_REPLICATION_FACTOR="1", PROVISION_MIN_INSYNC_REPLICAS="1")
    finally:
        await _alter(admin, _IDEMPOTENCY)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{_IDEMPOTENCY.name} has retention.ms=1000, it needs 172800000 or more: ")
    assert "Traceback" not in done.stderr


def test_without_a_broker_it_says_so() -> None:
    done = _run("127.0.0.1:1")
    assert done.returncode == 1
    assert "check KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr
