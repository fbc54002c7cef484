"""A sender as small as can be: each number it is handed takes a while, then one line goes out.

Runs inside a test, or as a process that can be killed: `python -m tests.kit.tracked_worker '<json>'`.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import orjson

from chassis.clock import SystemClock
from chassis.failures import DeadLetters
from chassis.log import Incoming, Log, LogUnavailable, Outgoing
from chassis.offset_tracker import TrackedConsumer, Work
from chassis.service import Crash
from schemas.inputs import Recheck
from schemas.topics import TOPICS, Topic
from tests.kit.topics import kafka_settings, renamed


@dataclass(frozen=True)
class Working:
    """What there is to know to take part."""

    bootstrap_servers: str
    group: str
    topics: Sequence[str]
    outputs: str
    worker_id: str
    partitions: int = 4
    session_seconds: float = 4.0
    max_in_flight: int = 100
    seconds: float = 0.05  # that each record takes

    @property
    def inputs(self) -> list[Topic]:
        return [renamed(TOPICS["message-inputs.express"], name, partitions=self.partitions) for name in self.topics]


async def no_restore(topic: str, partition: int, first: Incoming | None) -> None:
    """Nothing to restore."""


@dataclass
class Worker:
    """All parts of one replica, and what it was told."""

    setup: Working
    restore: Callable[[str, int, Incoming | None], Awaitable[None]] = no_restore
    begun: list[Work] = field(default_factory=list)
    gone: list[tuple[str, int]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)  # set: works; clear: everything takes for ever
    slow: Callable[[Work], bool] = lambda work: False  # these wait for `held`

    def __post_init__(self) -> None:
        setup = self.setup
        kafka = kafka_settings(
            setup.bootstrap_servers, session_timeout=f"{setup.session_seconds}s", request_timeout="3s"
        )
        self.log, self.crash = Log(kafka, client_id=setup.worker_id), Crash()
        self.tasks: set[asyncio.Task[None]] = set()
        self.consumer = TrackedConsumer(
            kafka,
            self.log,
            SystemClock(),
            DeadLetters(self.log, group=setup.group),
            group=setup.group,
            topics=setup.inputs,
            restore=self.restore,
            begin=self._begin,
            revoked=self.gone.extend,
            max_in_flight=setup.max_in_flight,
            crash=self.crash,
        )

    def numbers(self) -> list[int]:
        """What was begun, in order."""
        return [number_of(work) for work in self.begun]

    async def start(self) -> None:
        await self.log.start()
        await self.consumer.start()

    async def stop(self) -> None:
        await self.consumer.stop()
        for task in self.tasks:
            task.cancel()
        await self.log.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _begin(self, work: Work) -> None:
        self.begun.append(work)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        task = asyncio.create_task(self._carry_out(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _carry_out(self, work: Work) -> None:
        if self.slow(work):
            await self.held.wait()
        await asyncio.sleep(self.setup.seconds * (1 + number_of(work) % 5) / 3)
        line = orjson.dumps({"number": number_of(work), "worker": self.setup.worker_id})
        while True:  # its outcome must get into the log, however long that takes
            try:
                await self.log.append([Outgoing(self.setup.outputs, work.record.key, line, 0)], within=5)
                break
            except LogUnavailable:
                await asyncio.sleep(0.2)
        self.in_flight -= 1
        self.consumer.done(work)


def number_of(work: Work) -> int:
    assert isinstance(work.envelope.data, Recheck)
    return int(work.envelope.data.suppression_id)


async def _main(setup: Working) -> None:
    worker = Worker(setup)
    await worker.start()
    raise await worker.crash.reported()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(Working(**json.loads(sys.argv[1]))))
