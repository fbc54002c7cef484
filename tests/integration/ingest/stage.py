"""Ingest as tests run it: composition roots in this process, over real HTTP, on a real Kafka; tenants made in its tables."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from fastapi import FastAPI

from chassis.ids import parse_message_id
from chassis.log import Log, outgoing
from chassis.service import Part
from schemas.envelope import Payload, decode, seal
from schemas.inputs import MESSAGE_INPUTS, Submit
from schemas.tables import ApiKey, Domain, Project
from schemas.topics import TOPICS, message_inputs
from services.ingest.app import build
from services.ingest.domain.keys import KeyEnvironment, hash_of, new_key
from services.ingest.settings import IngestSettings
from tests.kit.broker import Broker, free_ports
from tests.kit.topics import everything_in, kafka_settings

SECRET = "internal-secret-of-tests"
SEALING_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CREATED_AT = "2026-01-01T00:00:00.000Z"
FOLDED_WITHIN = 10.0

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    json: Any


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project with its verified domain and its keys by environment."""

    project_id: str
    domain: str
    keys: Mapping[KeyEnvironment, str]
    key_ids: Mapping[KeyEnvironment, str]
    domain_id: str

    @property
    def live(self) -> str:
        return self.keys["live"]

    def mail(self, **changes: Any) -> dict[str, Any]:
        """A request that is accepted."""
        return {"recipient": "ada@example.org", "subject": "Hello", "text": "Hi\n", **changes}


# Seconds for which a client asks again who is told that nothing was done, for something is late "at this moment": the
# machine has much to do. Tests in which Kafka is away set it to 0.
PATIENCE = 15.0


@dataclass(slots=True)
class Client:
    """One replica of ingest, asked over HTTP."""

    url: str
    session: aiohttp.ClientSession
    running: list[Part]
    app: FastAPI

    async def stop(self) -> None:
        """As at SIGTERM: part by part, in reverse."""
        while self.running:
            await self.running.pop().stop()

    async def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        asked_until = time.monotonic() + PATIENCE
        while True:
            reply = await self._asked(method, path, json, data, sent)
            if reply.status != 503 or b"at this moment" not in reply.raw or time.monotonic() >= asked_until:
                return reply
            await asyncio.sleep(0.1)

    async def _asked(self, method: str, path: str, json: Any, data: Any, sent: Mapping[str, str]) -> Reply:
        async with self.session.request(method, self.url + path, json=json, data=data, headers=sent) as response:
            raw = await response.read()
            kind = response.headers.get("Content-Type", "")
            body = await response.json() if raw and kind.startswith("application/json") else None
            return Reply(response.status, response.headers, raw, body)

    async def send(self, tenant: Tenant, body: Body, idempotency_key: str | None = None) -> Reply:
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return await self.call("POST", "/v1/messages", key=tenant.live, json=body, headers=headers)

    async def ready(self) -> bool:
        return await self._says_ok("/health/ready")

    async def alive(self) -> bool:
        return await self._says_ok("/health/live")

    async def _says_ok(self, path: str) -> bool:
        try:
            return (await self.call("GET", path)).status == 200
        except aiohttp.ClientError:
            return False


async def holds(condition: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    """Return when `condition` is true; raises TimeoutError when it was not in time."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)


async def known(client: Client, tenant: Tenant) -> None:
    """Wait until this replica knows the tenant."""

    async def there() -> bool:
        return (await client.call("GET", "/v1/api-keys", key=tenant.keys["admin"])).status == 200

    await holds(there)


@asynccontextmanager
async def replica(
    broker: Broker, folder: Path, *, analytics_url: str = "http://127.0.0.1:9", **settings: Any
) -> AsyncIterator[Client]:
    """One running ingest; it is not waited for."""
    (port,) = free_ports(1)
    instance = secrets.token_hex(4)
    values: dict[str, Any] = {
        "port": port,
        "instance": instance,
        "state_dir": folder / instance,
        "blob_url": str(folder / "blobs"),
        "analytics_url": analytics_url,
        "internal_secret": SECRET,
        "message_id_secrets": "1:" + "ab" * 32,
        "sealing_keys": SEALING_KEY,
        "allow_loopback_webhooks": True,
        "allow_private_upstreams": True,
        "kafka": kafka_settings(broker.bootstrap_servers),
    }
    service = await build(IngestSettings(**values | settings))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        client = Client(f"http://127.0.0.1:{port}", session, list(service.parts), service.app)
        for part in service.parts:
            await part.start()
        try:
            yield client
        finally:
            await client.stop()


@asynccontextmanager
async def writer(broker: Broker) -> AsyncIterator[Log]:
    log = Log(kafka_settings(broker.bootstrap_servers), client_id="test-writer")
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def new_tenant(
    log: Log,
    *,
    scopes: tuple[str, ...] = ("*",),
    requests_per_minute: int | None = 1_000_000,
    default_from: str | None = "Shop <hello@{domain}>",
) -> Tenant:
    """Write a tenant into the tables, as a seed would."""
    token = secrets.token_hex(6)
    project_id, domain = f"prj_{token}", f"{token}.example"
    keys: dict[KeyEnvironment, str] = {name: new_key(name) for name in ("live", "test", "admin")}
    key_ids: dict[KeyEnvironment, str] = {name: f"key_{name}{token}" for name in keys}
    sender = default_from.format(domain=domain) if default_from else None
    project = Project(id=project_id, name="Test", default_from=sender, created_at=CREATED_AT)
    verified = Domain(
        id=f"dom_{token}", project_id=project_id, domain=domain, verified_at=CREATED_AT
    )  # fmt: skip
    rows: list[tuple[str, str, Payload]] = [
        ("projects", project_id, project),
        ("domains", f"{project_id}:{domain}", verified),
    ]
    for name, key in keys.items():
        row = ApiKey(
            id=key_ids[name],
            project_id=project_id,
            name=name,
            environment=name,
            sha256=hash_of(key),
            scopes=list(scopes),
            requests_per_minute=requests_per_minute,
            created_at=CREATED_AT,
            revoked_at=None,
        )
        rows.append(("api-keys", row.id, row))
    await log.append(
        [
            outgoing(
                TOPICS[entry],
                seal(row, record_id=f"rec_{key}", source="test", subject=key, time_ms=0, project_id=project_id),
                key=key,
            )
            for entry, key, row in rows
        ],
        within=FOLDED_WITHIN,
    )
    return Tenant(project_id, domain, keys, key_ids, verified.id)


async def ends_of(broker: Broker, *entries: str) -> dict[TopicPartition, int]:
    """The end offsets of these topics: they stay where nothing was queued."""
    places = [TopicPartition(TOPICS[entry].name, n) for entry in entries for n in range(TOPICS[entry].partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        found: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return found
    finally:
        await consumer.stop()


async def submits_of(broker: Broker, message_id: str) -> list[Submit]:
    """Every Submit of this message in the log, in order."""
    return [submit for submit in await neighbours_of(broker, message_id) if submit.message_id == message_id]


async def neighbours_of(broker: Broker, message_id: str) -> list[Submit]:
    """Every Submit in the partition of this message, in order."""
    place = parse_message_id(message_id)
    assert place is not None
    records = await everything_in(broker.bootstrap_servers, message_inputs(place.lane).name, place.partition)
    found = [decode(record.value, MESSAGE_INPUTS).data for record in records]
    return [submit for submit in found if isinstance(submit, Submit)]


async def queued_in(broker: Broker) -> list[str]:
    """The message id of every Submit in the standard lane."""
    topic = message_inputs("standard")
    return [
        record.key
        for partition in range(topic.partitions)
        for record in await everything_in(broker.bootstrap_servers, topic.name, partition)
    ]
