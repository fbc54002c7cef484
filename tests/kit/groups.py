"""What a consumer group has committed, what it has not, and where its dead letters go."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.structs import OffsetAndMetadata

from schemas.topics import Topic, dlq_name
from tests.kit.topics import admin


async def ends(servers: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    asking = AIOKafkaConsumer(bootstrap_servers=servers)
    await asking.start()
    try:
        found: dict[TopicPartition, int] = await asking.end_offsets(list(places))
        return found
    finally:
        await asking.stop()


async def committed(
    servers: str, group: str, places: Sequence[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    async with admin(servers) as client:
        found: dict[TopicPartition, OffsetAndMetadata] = await client.list_consumer_group_offsets(
            group, partitions=list(places)
        )
        return found


async def uncommitted(servers: str, group: str, topics: Sequence[str], partitions: int = 4) -> int:
    """Records between the group's offsets and the ends; -1 where the broker does not say."""
    places = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
    last, done = await asyncio.gather(ends(servers, places), committed(servers, group, places))
    if not done.keys() >= set(places):
        return -1  # the coordinator is loading: it does not say
    return sum(last[place] - max(0, done[place].offset) for place in places)


async def dead_letter_topic(servers: str, group: str, topic: Topic) -> str:
    name = dlq_name(group, topic)
    async with admin(servers) as client:
        limits = {"max.message.bytes": str(12 * 1024 * 1024)}
        await client.create_topics([NewTopic(name, 1, 1, topic_configs=limits)])
    return name
