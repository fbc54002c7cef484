"""Mail by the hundred thousand: submissions written straight to the router's inputs, as ingest would write them."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer

from chassis.ids import MessageIds
from deploy.local.credentials import Credentials
from deploy.local.layout import Layout
from schemas.envelope import encode, seal
from schemas.inputs import Submit
from schemas.mail import Content, Priority
from schemas.topics import message_inputs
from tests.kit.stack import Stack

PARTITIONS = 12
_AT_ONCE = 2000  # records on their way: the producer's memory, and who waits for it
_DAY_MS = 86_400_000
_TEXT = "\n".join(["Your order is on its way and will be with you soon."] * 36)  # 1.9 kB; a mail is 2 kB with its names
_TOPIC = message_inputs("standard").name


class Filler:
    """Knows the stack's secrets, so that its ids are as good as ingest's."""

    def __init__(self, stack: Stack) -> None:
        secrets = Layout(stack.run_dir, stack.port_base).secrets
        found = Credentials.model_validate_json(secrets.read_bytes())
        self._project = found.project_id
        self._ids = MessageIds({1: bytes.fromhex(found.message_id_secret)}, 1)
        self._kafka = stack.description["kafka"]
        self._numbers = itertools.count()

    async def scheduled(self, count: int) -> Sequence[bytes]:
        """To a thousand destinations, all of it in 300 days."""
        due_ms = _now_ms() + 300 * _DAY_MS
        return await self._fill(count, lambda number: f"d{number % 1000}.example", scheduled_ms=due_ms)

    async def bulk(self, count: int) -> Sequence[bytes]:
        """To two destinations: all but their windows waits."""
        return await self._fill(count, lambda number: f"w{number % 2}.example", priority="bulk")

    async def burst(self, count: int) -> Sequence[bytes]:
        """To twenty destinations, to go at once."""
        return await self._fill(count, lambda number: f"d{number % 20}.example")

    async def _fill(
        self,
        count: int,
        destination: Callable[[int], str],
        *,
        priority: Priority = "normal",
        scheduled_ms: int | None = None,
    ) -> Sequence[bytes]:
        """Append them, acked; their ids."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka, acks="all", enable_idempotence=True, max_batch_size=262_144, linger_ms=5
        )
        await producer.start()
        ids: list[bytes] = []
        try:
            for _ in range(0, count, _AT_ONCE):
                made = [
                    self._submit(destination, priority, scheduled_ms) for _ in range(min(_AT_ONCE, count - len(ids)))
                ]
                sent = [await producer.send(_TOPIC, value, key, partition) for key, value, partition in made]
                await asyncio.gather(*sent)
                ids += [key for key, _, _ in made]
        finally:
            await producer.stop()
        return ids

    def _submit(
        self, destination: Callable[[int], str], priority: Priority, scheduled_ms: int | None
    ) -> tuple[bytes, bytes, int]:
        number, now_ms = next(self._numbers), _now_ms()
        partition, to = number % PARTITIONS, f"u{number}@{destination(number)}"
        made = self._ids.new(
            project_id=self._project,
            now_ms=now_ms,
            lane="standard",
            partition=partition,
            scheduled=scheduled_ms is not None,
        )
        submit = Submit(
            message_id=made.text,
            recipient=to,
            destination=destination(number),
            content=Content(from_="Shop <hello@example.com>", to=[to], subject="Hello", text=_TEXT),
            tags=[],
            metadata={},
            priority=priority,
            environment="live",
            on_unknown="resend",
            channel="api",
            api_key_id="key_bench",
            size=len(_TEXT),
            submission_id=f"sub_{number}",
            created_at_ms=now_ms,
            valid_until_ms=now_ms + _DAY_MS,
            scheduled_ms=scheduled_ms,
        )
        envelope = seal(
            submit,
            record_id=f"bench_{number}",
            source="ingest",
            subject=made.text,
            time_ms=now_ms,
            project_id=self._project,
        )
        return made.text.encode(), encode(envelope), partition


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
