"""Webhooks alone: events that are in the log already, to fast receivers; calls per CPU-second of its process.

`python -m tests.bench.webhooks` by itself. On a Kafka of its own; the receivers are in this process, which is not counted.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import uvloop

from chassis.log import Log
from tests.bench.processes import Meter
from tests.bench.report import Figures, shown
from tests.integration.webhooks.stage import Stage, process
from tests.kit.broker import Broker, provision_topics, started_broker
from tests.kit.topics import kafka_settings
from tests.kit.waiting import until

ENDPOINTS = 4
_WARM_UP = 500
_IDLE_SECONDS = 5.0
_AT_ONCE = 200  # events in an append
_THANKS = b"HTTP/1.1 204 No Content\r\n\r\n"
_PATIENCE = 300.0


class _Receiver(asyncio.Protocol):
    """Says 204 to each request, and counts; it looks no further than at how long they are."""

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._seen = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (ends := self._seen.find(b"\r\n\r\n")) >= 0:
            head = self._seen[:ends].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self._seen) < ends + 4 + length:
                return
            del self._seen[: ends + 4 + length]
            self._count()
            self._transport.write(_THANKS)


async def webhooks_alone(events: int) -> Figures:
    with started_broker() as broker:
        await asyncio.to_thread(provision_topics, broker.bootstrap_servers)
        async with _logged(broker) as log:
            return await _measured(Stage(broker, log), events)


@asynccontextmanager
async def _logged(broker: Broker) -> AsyncIterator[Log]:
    log = Log(kafka_settings(broker.bootstrap_servers), client_id="bench")
    await log.start()
    yield log
    await log.stop()


async def _measured(stage: Stage, events: int) -> Figures:
    arrived = 0

    def count() -> None:
        nonlocal arrived
        arrived += 1

    server = await asyncio.get_running_loop().create_server(lambda: _Receiver(count), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for number in range(ENDPOINTS):
        endpoint, _ = await stage.endpoint(f"http://127.0.0.1:{port}/{number}", tags=[f"to-{number}"])
        await stage.change(endpoint, rate_per_second=1e6)
    async with process(stage.broker) as running:
        await _write(stage, _WARM_UP)
        await until(lambda: arrived >= _WARM_UP, within=_PATIENCE)
        meter = Meter({"webhooks": running.pid})
        await asyncio.sleep(_IDLE_SECONDS)
        idle, began = meter.read()["webhooks"], time.monotonic()
        await _write(stage, events)
        await until(lambda: arrived >= _WARM_UP + events, within=_PATIENCE)
        cpu_seconds, took = meter.read()["webhooks"] - idle, time.monotonic() - began
    server.close()
    return {
        "webhooks alone: calls / CPU-s": events / cpu_seconds,
        # On a busy machine it takes longer, and what is spent on doing nothing counts for more.
        "webhooks alone: calls / CPU-s beyond idle": events / (cpu_seconds - idle * took / _IDLE_SECONDS),
        "webhooks alone: idle CPU-s per minute": 60 * idle / _IDLE_SECONDS,
    }


async def _write(stage: Stage, events: int) -> None:
    for start in range(0, events, _AT_ONCE):
        numbers = range(start, min(events, start + _AT_ONCE))
        await stage.write([stage.queued(tags=[f"to-{number % ENDPOINTS}"]) for number in numbers])


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.bench.webhooks")
    arguments.add_argument("--events", type=int, default=20_000)
    given = arguments.parse_args()
    print(shown(uvloop.run(webhooks_alone(given.events))))
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
