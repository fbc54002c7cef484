"""Sender processes as tests run them, the deliveries they are handed, and what they say about them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from chassis.ids import MessageIds
from chassis.log import Log, Outgoing, outgoing
from schemas.deliveries import Delivery
from schemas.envelope import Envelope, Payload, decode, seal
from schemas.inputs import MESSAGE_INPUTS, AttemptInput
from schemas.mail import Content, Environment, Lane, Priority
from schemas.tables import Suppression, suppression_key
from schemas.topics import TOPICS, deliveries, message_inputs
from tests.kit.broker import free_ports
from tests.kit.topics import kafka_settings
from tests.kit.waiting import until

PROJECT = "prj_06GC8M3CFE0000000000000001"
IDS = MessageIds({1: b"0123456789abcdef"}, 1)
LANES: tuple[Lane, ...] = ("express", "standard")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def delivery(
    *,
    recipient: str = "ada@example.org",
    partition: int = 0,
    priority: Priority = "normal",
    environment: Environment = "live",
    attempt: int = 1,
    dispatch: int = 1,
    message_id: str | None = None,
    valid_for_ms: int = 60_000,
) -> Delivery:
    lane: Lane = "express" if priority in {"critical", "high"} else "standard"
    now = now_ms()
    new = IDS.new(project_id=PROJECT, now_ms=now, lane=lane, partition=partition)
    return Delivery(
        message_id=message_id or new.text,
        recipient=recipient,
        destination=recipient.rpartition("@")[2],
        content=Content(from_="Shop <shop@example.com>", to=[recipient], subject="Your code", text="847291\n"),
        environment=environment,
        priority=priority,
        attempt=attempt,
        dispatch=dispatch,
        created_at_ms=now,
        first_dispatched_at_ms=now,
        valid_until_ms=now + valid_for_ms,
    )


@dataclass(slots=True)
class Told:
    """What the senders appended to the router's inbox."""

    envelopes: list[Envelope[Payload]] = field(default_factory=list)

    def of(self, message_id: str) -> list[AttemptInput]:
        found = (e.data for e in self.envelopes)
        return [data for data in found if isinstance(data, AttemptInput) and data.message_id == message_id]

    def kinds(self, message_id: str) -> list[str]:
        return [data.TYPE.removeprefix("input.attempt_") for data in self.of(message_id)]

    def distinct(self, message_id: str) -> Counter[str]:
        """Kinds by record id: repetitions have the same id, and count once."""
        ids = {e.id: e.type for e in self.envelopes if getattr(e.data, "message_id", None) == message_id}
        return Counter(kind.removeprefix("input.attempt_") for kind in ids.values())


@dataclass(slots=True)
class Bench:
    """The topics around the sender: hand it deliveries, read what it tells."""

    bootstrap_servers: str
    log: Log
    told: Told

    async def hand_out(self, items: Iterable[Delivery]) -> None:
        await self.log.append([self._record(item) for item in items], within=20)

    async def suppress(self, recipient: str) -> None:
        entry = Suppression(
            id="sup_06GC8M3CFE0000000000000001",
            project_id=PROJECT,
            scope="*",
            recipient=recipient,
            reason="manual",
            origin="api",
            source_event_id=None,
            created_at="2026-11-24T00:00:00.000Z",
        )
        key = suppression_key(PROJECT, recipient, "api")
        envelope = seal(entry, record_id="rec_1", source="test", subject=key, time_ms=now_ms(), project_id=PROJECT)
        await self.log.append([outgoing(TOPICS["suppressions"], envelope, key=key)], within=10)

    async def told_of(self, items: Sequence[Delivery], *, within: float = 30) -> None:
        """Wait until something has been told of each."""
        await until(lambda: all(self.told.of(item.message_id) for item in items), within=within)

    def _record(self, item: Delivery) -> Outgoing:
        envelope = seal(
            item,
            record_id=f"rec_{item.message_id}_{item.attempt}_{item.dispatch}",
            source="router",
            subject=item.message_id,
            time_ms=now_ms(),
            project_id=PROJECT,
        )
        place = IDS.verify(item.message_id, PROJECT)
        assert place is not None
        return outgoing(deliveries("main", place.lane), envelope, key=item.message_id, partition=place.partition)


@asynccontextmanager
async def bench(bootstrap_servers: str) -> AsyncIterator[Bench]:
    """Reads the inboxes from their ends on, for the time of the block."""
    log = Log(kafka_settings(bootstrap_servers), client_id="test-bench")
    await log.start()
    reader = AIOKafkaConsumer(
        *(message_inputs(lane).name for lane in LANES),
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="latest",
        fetch_max_wait_ms=50,
    )
    await reader.start()
    for place in reader.assignment():
        await reader.position(place)  # the end, as of now
    told = Told()

    async def read() -> None:
        async for record in reader:
            told.envelopes.append(decode(record.value, MESSAGE_INPUTS))

    reading = asyncio.create_task(read())
    try:
        yield Bench(bootstrap_servers, log, told)
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        await reader.stop()
        await log.stop()


class SenderProcess:
    """`python -m services.sender`."""

    def __init__(self, bootstrap_servers: str, folder: Path, *, upstream: int | None, **settings: str) -> None:
        (self.port,) = free_ports(1)
        own = {
            "SENDER_PORT": str(self.port),
            **({} if upstream is None else {"SENDER_UPSTREAM": f"127.0.0.1:{upstream}"}),
            "SENDER_BLOB_URL": str(folder / "blobs"),
            "SENDER_ATTEMPT_DEADLINE": "5s",
            "SENDER_DEADLINE_MARGIN": "1s",
            "SENDER_INSTANCE": str(self.port),
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "KAFKA_SESSION_TIMEOUT": "6s",
            **{f"SENDER_{name.upper()}": value for name, value in settings.items()},
        }
        self.log_file = folder / f"sender-{self.port}.log"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.sender"],
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def end(self, within: float) -> None:
        """Give it that many seconds to end by itself."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()

    async def ended(self, within: float = 30) -> int:
        """Its exit status."""
        await until(lambda: self._process.poll() is not None, within=within)
        return self._process.returncode

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def said(self, event: str) -> bool:
        return f'"event": "{event}"' in self.log_file.read_text()
