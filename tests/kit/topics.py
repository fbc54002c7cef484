"""Topics with random names for tests of mechanisms, and all that stands in one."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from chassis.log import Incoming, incoming
from chassis.settings import KafkaSettings
from schemas.topics import Topic


def kafka_settings(bootstrap_servers: str, **overrides: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": bootstrap_servers, **overrides})


@asynccontextmanager
async def admin(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def new_topic(bootstrap_servers: str, *, partitions: int = 1, append_time: bool = True, **config: str) -> str:
    """Create a topic with a random name; config names with `_` for `.`, as `cleanup_policy="compact"`."""
    name = f"test-{secrets.token_hex(6)}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    if append_time:
        settings["message.timestamp.type"] = "LogAppendTime"
    async with admin(bootstrap_servers) as client:
        await client.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
    return name


def renamed(topic: Topic, name: str, *, partitions: int = 1) -> Topic:
    """A topic of the product under a test's own name."""
    return topic.model_copy(update={"name": name, "partitions": partitions})


async def everything_in(bootstrap_servers: str, topic: str, partition: int = 0) -> list[Incoming]:
    """All records of a partition, up to the end it has now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        end = (await consumer.end_offsets([place]))[place]
        consumer.assign([place])
        consumer.seek(place, (await consumer.beginning_offsets([place]))[place])
        found: list[Incoming] = []
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += [incoming(record) for record in records]
        return found
    finally:
        await consumer.stop()
