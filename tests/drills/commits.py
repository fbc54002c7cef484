"""What router and sender have committed, held against what they have done (I7)."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from schemas.topics import TOPICS
from tests.kit.groups import committed
from tests.kit.oracle import Place, judge_commits
from tests.kit.stack import Stack

_INPUTS = ("message-inputs.express", "message-inputs.standard")
_DELIVERIES = ("deliveries.main.express", "deliveries.main.standard")


async def faults(stack: Stack) -> list[str]:
    """Offsets first, then what was done: whatever is finished meanwhile can only excuse."""
    servers = stack.description["kafka"]
    router, sender = await asyncio.gather(
        _offsets(servers, "router", _INPUTS), _offsets(servers, "sender.main", _DELIVERIES)
    )
    submits, handed_out, finished, known = [], [], set(), set()
    async for record, value in _records(servers, _INPUTS):
        if value["type"] == "input.submit":
            submits.append((record, value["data"]))
        elif value["type"].startswith("input.attempt_"):
            finished.add((value["data"]["message_id"], value["data"]["attempt"]))
    async for record, value in _records(servers, _DELIVERIES):
        handed_out.append((record, value["data"]))
    async for _, value in _records(servers, ("attempt-journal",)):
        if value["type"] == "journal.recorded":
            finished.add((value["data"]["message_id"], value["data"]["attempt"]))
    async for _, value in _records(servers, ("message-events",)):
        known.add(value["subject"])
    unread = [_unfinished(record, data) for record, data in submits if data["message_id"] not in known]
    open_ = [
        _unfinished(record, data)
        for record, data in handed_out
        if (data["message_id"], data["attempt"]) not in finished
    ]
    return [
        *judge_commits(router, [found for found in unread if found is not None], "router"),
        *judge_commits(sender, [found for found in open_ if found is not None], "sender.main"),
    ]


def _unfinished(record: ConsumerRecord, data: Any) -> tuple[Place, int, str] | None:
    """None where it came too late to count."""
    if record.timestamp > data["valid_until_ms"]:
        return None
    return (record.topic, record.partition), record.offset, data["message_id"]


def _places(entries: Iterable[str]) -> list[TopicPartition]:
    topics = [TOPICS[entry] for entry in entries]
    return [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]


async def _offsets(servers: str, group: str, entries: Iterable[str]) -> dict[Place, int]:
    found = await committed(servers, group, _places(entries))
    return {(place.topic, place.partition): at.offset for place, at in found.items()}


async def _records(servers: str, entries: Iterable[str]) -> AsyncIterator[tuple[ConsumerRecord, Any]]:
    """All that is there now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=20)
    await consumer.start()
    try:
        places = _places(entries)
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    if record.value is not None:
                        yield record, orjson.loads(record.value)
    finally:
        await consumer.stop()
