"""The service on a real Kafka, and everything around it that a test looks at or turns."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from cryptography.fernet import Fernet

from chassis.clock import SystemClock
from chassis.ids import event_id, new_id
from chassis.log import Log, Outgoing, outgoing, tombstone
from chassis.sealing import Seals
from schemas.envelope import Envelope, Payload, decode, encode, seal, to_timestamp
from schemas.events import MessageAccepted, MessageDelivered, MessageEvent, MessageQueued, SuppressionAdded
from schemas.mail import Attempt
from schemas.tables import OldSecret, WebhookEndpoint
from schemas.topics import TOPICS, Topic, dlq_name
from schemas.webhooks import WEBHOOK_ATTEMPTS, WEBHOOK_REPLAYS, ReplayState, WebhookAttempt, WebhookReplay, WebhookTest
from services.webhooks.app import Webhooks, build
from services.webhooks.settings import WebhooksSettings
from tests.kit.broker import Broker, free_ports
from tests.kit.topics import everything_in, kafka_settings

SEALING_KEY = Fernet.generate_key().decode()
EVENTS, ENDPOINTS = TOPICS["message-events"], TOPICS["webhook-endpoints"]
COMMANDS, ACCOUNT = TOPICS["webhook-commands"], TOPICS["account-events"]
DELIVERIES, ATTEMPTS = TOPICS["webhook-deliveries"], TOPICS["webhook-attempts"]
REPLAYS = TOPICS["webhook-replays"]
SCHEDULE = "1.5s"
_CLOCK = SystemClock()


@dataclass(slots=True)
class Stage:
    """One project of its own per test, on a broker that the tests of a module share."""

    broker: Broker
    log: Log
    project: str = field(default_factory=lambda: new_id("prj", _CLOCK.now_ms()))

    async def endpoint(
        self, url: str, *, events: Sequence[str] = ("*",), tags: Sequence[str] = (), sealing_key: str = SEALING_KEY
    ) -> tuple[WebhookEndpoint, str]:
        """A new endpoint in the table, as ingest writes it, and its secret."""
        now_ms = _CLOCK.now_ms()
        secret = "whsec_" + Fernet.generate_key().decode().replace("-", "+").replace("_", "/")
        endpoint = WebhookEndpoint(
            id=new_id("whk", now_ms),
            project_id=self.project,
            url=url,
            events=list(events),
            tags=list(tags),
            description=None,
            sealed_secret=Seals([sealing_key]).seal(secret),
            created_at=to_timestamp(now_ms),
        )
        envelope = seal(
            endpoint, record_id=endpoint.id, source="ingest", subject=endpoint.id, time_ms=now_ms,
            project_id=self.project,
        )  # fmt: skip
        await self.append(outgoing(ENDPOINTS, envelope, key=endpoint.id))
        return endpoint, secret

    async def rotate(self, endpoint: WebhookEndpoint, secret: str, *, overlap_ms: int) -> None:
        """The endpoint with another secret beside its first one, as ingest writes it."""
        old = OldSecret(sealed_secret=endpoint.sealed_secret, until=to_timestamp(_CLOCK.now_ms() + overlap_ms))
        await self.change(endpoint, sealed_secret=Seals([SEALING_KEY]).seal(secret), old_secrets=[old])

    async def change(self, endpoint: WebhookEndpoint, **changes: object) -> None:
        now_ms = _CLOCK.now_ms()
        envelope = seal(
            endpoint.model_copy(update=changes), record_id=new_id("rec", now_ms), source="ingest", subject=endpoint.id,
            time_ms=now_ms, project_id=self.project,
        )  # fmt: skip
        await self.append(outgoing(ENDPOINTS, envelope, key=endpoint.id))

    async def ask_test(self, endpoint: WebhookEndpoint) -> str:
        """A test of the endpoint, as ingest asks for it; the id of its event."""
        asked = new_id("evt", _CLOCK.now_ms())
        await self._command(asked, WebhookTest(webhook_id=endpoint.id, by="key_1"))
        return asked

    async def ask_replay(
        self, endpoint: WebhookEndpoint, *, event_id: str | None = None, types: Sequence[str] = (), failed: bool = False
    ) -> str:
        """Everything so far once more, or what is asked for; as ingest asks for it. The id of the replay."""
        now_ms = _CLOCK.now_ms()
        replay = WebhookReplay(
            id=new_id("rpl", now_ms), webhook_id=endpoint.id, by="key_1", event_id=event_id,
            since=to_timestamp(now_ms - 600_000), until=to_timestamp(now_ms), event_types=list(types), only_failed=failed,
        )  # fmt: skip
        await self._command(replay.id, replay)
        return replay.id

    async def _command(self, record_id: str, command: WebhookTest | WebhookReplay) -> None:
        envelope = seal(
            command, record_id=record_id, source="ingest", subject=command.webhook_id, time_ms=_CLOCK.now_ms(),
            project_id=self.project,
        )  # fmt: skip
        await self.append(outgoing(COMMANDS, envelope, key=command.webhook_id))

    async def suppressed(self) -> str:
        """`suppression.added`, as the router writes it; the event's id."""
        now_ms = _CLOCK.now_ms()
        added = SuppressionAdded(
            id=new_id("sup", now_ms), recipient="ada@example.org", reason="hard_bounce", origin="bounce",
            source_event_id=None, by="router",
        )  # fmt: skip
        envelope = seal(
            added, record_id=new_id("evt", now_ms), source="router", subject=added.id, time_ms=now_ms,
            project_id=self.project,
        )  # fmt: skip
        await self.append(outgoing(ACCOUNT, envelope, key=self.project))
        return envelope.id

    async def account_events(self) -> list[Envelope[Payload]]:
        """Those of this project, in order."""
        events = [decode(value, ACCOUNT.types) for _, value in await self.all_of(ACCOUNT)]
        return [event for event in events if event.project_id == self.project]

    async def delete(self, endpoint: WebhookEndpoint) -> None:
        await self.append(tombstone(ENDPOINTS, endpoint.id))

    async def events(self, count: int = 1, *, tags: Sequence[str] = ()) -> list[Envelope[MessageEvent]]:
        """`message.queued` of that many new messages, in the log."""
        made = [self.queued(tags=tags) for _ in range(count)]
        await self.write(made)
        return made

    async def write(self, events: Sequence[Envelope[MessageEvent]]) -> None:
        await self.append(*[self.record(event) for event in events])

    def record(self, event: Envelope[MessageEvent]) -> Outgoing:
        return Outgoing(EVENTS.name, event.subject, encode(event))

    async def append(self, *records: Outgoing) -> None:
        await self.log.append(records, within=15)

    def queued(self, *, tags: Sequence[str] = ()) -> Envelope[MessageEvent]:
        data = MessageQueued(
            **self._message(tags), status="queued", from_="shop@example.com", subject="Grüße", priority="normal",
            channel="api", api_key_id="key_1", size=5, submission_id="sub_1", created_at=to_timestamp(_CLOCK.now_ms()),
        )  # fmt: skip
        return self._event(data, 1)

    def walk(self) -> list[Envelope[MessageEvent]]:
        """The three events of one message that is delivered."""
        first = self.queued()
        assert isinstance(first.data, MessageQueued)
        message = first.data.model_dump(include=set(MessageEvent.model_fields) - {"status"})
        now = to_timestamp(_CLOCK.now_ms())
        accepted = MessageAccepted(
            **message, status="accepted", path="mailbox", suppression_checked_at=now, reason=None, next_attempt_at=None
        )
        attempt = Attempt(number=1, started_at=now, finished_at=now, path="mailbox", phase="reply", code=250)
        delivered = MessageDelivered(
            **message, status="delivered", attempt=attempt, category="delivered", reason=None, next_attempt_at=None
        )
        return [first, self._event(accepted, 2), self._event(delivered, 3)]

    def _message(self, tags: Sequence[str]) -> dict[str, object]:
        return {
            "message_id": new_id("msg", _CLOCK.now_ms()), "recipient": "ada@example.org", "tags": list(tags),
            "metadata": {}, "environment": "live",
        }  # fmt: skip

    def _event(self, data: MessageEvent, sequence: int) -> Envelope[MessageEvent]:
        return seal(
            data, record_id=event_id(data.message_id, sequence), source="router", subject=data.message_id,
            time_ms=_CLOCK.now_ms(), project_id=self.project, sequence=sequence,
        )  # fmt: skip

    async def attempts(self, endpoint: WebhookEndpoint) -> list[WebhookAttempt]:
        """What the log says of an endpoint's attempts, in order."""
        records = await self.all_of(ATTEMPTS)
        found = [decode(value, WEBHOOK_ATTEMPTS).data for _, value in records]
        return sorted((made for made in found if made.endpoint_id == endpoint.id), key=lambda made: made.at)

    async def replays(self) -> dict[str, ReplayState]:
        """How each stands, as ingest reads it."""
        return {
            key: decode(value, WEBHOOK_REPLAYS).data for key, value in await self.all_of(REPLAYS) if value is not None
        }

    async def pending(self, delivery_id: str) -> bytes | None:
        """The last record of a delivery; None where it is closed, or was never there."""
        return dict(await self.all_of(DELIVERIES)).get(delivery_id)

    async def dead_letters(self, group: str, topic: Topic) -> list[tuple[str, bytes | None]]:
        return await self.all_of(topic.model_copy(update={"name": dlq_name(group, topic)}))

    async def all_of(self, topic: Topic) -> list[tuple[str, bytes | None]]:
        servers = self.broker.bootstrap_servers
        parts = await asyncio.gather(*(everything_in(servers, topic.name, n) for n in range(topic.partitions)))
        return [(record.key, record.value) for part in parts for record in part]


async def closed(stage: Stage, *ids: str) -> bool:
    """Whether each delivery or replay was there, and is closed."""
    last = dict(await stage.all_of(DELIVERIES))
    return all(entry_id in last and last[entry_id] is None for entry_id in ids)


def settings_for(broker: Broker, port: int) -> WebhooksSettings:
    return WebhooksSettings.model_validate(
        {
            "port": port,
            "sealing_keys": SEALING_KEY,
            "allow_loopback": True,
            "retry_schedule": SCHEDULE,
            "open_requests_per_endpoint": 5,
            "instance": secrets.token_hex(4),
            "kafka": kafka_settings(broker.bootstrap_servers, session_timeout="6s"),
        }
    )


@asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[Webhooks]:
    """The service in this process, ready; stopped in order at the end, and it must not have crashed."""
    (port,) = free_ports(1)
    service = await build(settings_for(broker, port))
    starting = asyncio.create_task(_start(service))
    try:
        await _ready(port)
        yield service
    finally:
        starting.cancel()
        for part in reversed(service.parts):
            await part.stop()
    assert not service.crash._reported.done()


async def _start(service: Webhooks) -> None:
    for part in service.parts:
        await part.start()


@asynccontextmanager
async def process(broker: Broker) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """The service as it runs in production, ready; killed at the end if it is still there."""
    (port,) = free_ports(1)
    environment = {
        "WEBHOOKS_PORT": str(port),
        "WEBHOOKS_SEALING_KEYS": SEALING_KEY,
        "WEBHOOKS_ALLOW_LOOPBACK": "true",
        "WEBHOOKS_RETRY_SCHEDULE": SCHEDULE,
        "WEBHOOKS_INSTANCE": secrets.token_hex(4),
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA_SESSION_TIMEOUT": "6s",
    }
    started = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [sys.executable, "-m", "services.webhooks"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await _ready(port)
        yield started
    finally:
        started.kill()
        await asyncio.to_thread(started.wait)


async def _ready(port: int, *, within: float = 40) -> None:
    async with asyncio.timeout(within), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/health/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
