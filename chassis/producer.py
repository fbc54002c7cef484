"""One idempotent producer from its connection to its end. It must never outlive its end: what is unsent then is dropped.

aiokafka never expires an idempotent batch, and its `stop` waits for all of them. So the end is made by hand here, with
the insides of aiokafka 0.14 (pinned to that minor version in pyproject.toml).
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed

from chassis.kafka import connected, connection, request_timeout_ms
from chassis.settings import KafkaSettings
from schemas.topics import DLQ_MAX_BYTES

_CLOSING = 2.0  # seconds for sockets to close


class Producer:
    """Connects in the background for as long as it takes; `connected` is done when it may be used."""

    def __init__(self, kafka: KafkaSettings, client_id: str) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._locks: dict[tuple[str, int], asyncio.Lock] = {}
        self.connected: asyncio.Task[AIOKafkaProducer] = asyncio.create_task(
            connected(self._make, kafka, client_id=client_id), name="producer-connect"
        )

    def queue_of(self, topic: str, partition: int) -> asyncio.Lock:
        """Held while a ready-made batch is handed over: aiokafka takes one at a time, and is unfair about whose."""
        return self._locks.setdefault((topic, partition), asyncio.Lock())

    async def close(self, patience: float) -> None:
        """Give what is on its way `patience` seconds to be acked, then drop it."""
        self.connected.cancel()
        await asyncio.wait({self.connected})
        if not self.connected.cancelled() and self.connected.exception() is None:
            await _end(self.connected.result(), patience)

    def _make(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **connection(self._kafka),
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            max_batch_size=262_144,  # twice the records per CPU second of the default, for batch-and-await loops
            linger_ms=0,
            max_request_size=DLQ_MAX_BYTES,  # the largest record that any topic takes
            request_timeout_ms=request_timeout_ms(self._kafka),
        )


async def _end(producer: AIOKafkaProducer, patience: float) -> None:
    batches: Any = producer._message_accumulator  # noqa: SLF001 - see the module's head
    batches._closed = True  # noqa: SLF001 - what is not in a batch yet fails now
    flushing = asyncio.create_task(producer.flush())
    await asyncio.wait({flushing}, timeout=patience)
    sender: asyncio.Task[None] = producer._sender.sender_task  # noqa: SLF001
    while not sender.done():  # the first cancel makes it wait for its requests, the second ends that, too
        sender.cancel()
        await asyncio.wait({sender}, timeout=0.05)
    if not flushing.done():
        await _drop(producer, batches)
        await asyncio.wait({flushing})
    stopping = asyncio.create_task(producer.stop())
    await asyncio.wait({stopping}, timeout=_CLOSING)
    stopping.cancel()
    refreshed = producer.client._md_update_fut  # noqa: SLF001
    if refreshed is not None and not refreshed.done():
        refreshed.set_result(False)  # nobody updates metadata any more: let go who waits for it


async def _drop(producer: AIOKafkaProducer, batches: Any) -> None:
    """Cut the connections, with what stands in their buffers, and fail every batch."""
    for socket in list(producer.client._conns.values()):  # noqa: SLF001
        if socket._writer is not None:  # noqa: SLF001
            socket._writer.transport.abort()  # noqa: SLF001
    await asyncio.sleep(0.3)  # requests that failed by this put their batches back after 0.1 s
    batches.fail_all(ProducerClosed())
