"""A sender process and the paths that routers name: MX, upstreams out of the table, what it does not have (R20)."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from chassis.log import outgoing
from chassis.sealing import Seals
from schemas.deliveries import Delivery
from schemas.envelope import decode, seal, to_timestamp
from schemas.inputs import AttemptFinished, AttemptInput, AttemptPostponed
from schemas.routing import DESTINATIONS, Destination, Upstream
from schemas.topics import TOPICS
from tests.kit.broker import Broker
from tests.kit.dns_server import dns_server
from tests.kit.senders import PROJECT, Bench, SenderProcess, bench, delivery, now_ms
from tests.kit.smtp_server import smtp_server
from tests.kit.waiting import until

SEALING_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
UPSTREAM = "ups_06GC8M3CFE0000000000000001"


@pytest.fixture
async def around(own_broker: Broker) -> AsyncIterator[Bench]:
    async with bench(own_broker.bootstrap_servers) as found:
        yield found


def along(path: str) -> Delivery:
    return delivery().model_copy(update={"path": path})


def upstream(port: int, **fields: object) -> Upstream:
    now = to_timestamp(now_ms())
    made = Upstream(
        id=UPSTREAM,
        project_id="",
        name="relay",
        version=1,
        created_at=now,
        updated_at=now,
        updated_by="key_1",
        host="127.0.0.1",
        port=port,
        tls="opportunistic",
    )
    return made.model_copy(update=fields)


async def put(around: Bench, entry: Upstream) -> None:
    envelope = seal(
        entry, record_id=f"rec_{entry.version}", source="test", subject=entry.id, time_ms=now_ms(), project_id=""
    )
    await around.log.append([outgoing(TOPICS["upstreams"], envelope, key=entry.id)], within=10)


async def told(around: Bench, item: Delivery) -> AttemptInput:
    await around.hand_out([item])
    await around.told_of([item])
    return around.told.of(item.message_id)[0]


async def destination_told(bootstrap_servers: str) -> Destination:
    """The first record of the topic."""
    reader = AIOKafkaConsumer(
        TOPICS["destinations"].name, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest"
    )
    await reader.start()
    try:
        record = await reader.getone()
        found = decode(record.value, DESTINATIONS).data
        assert isinstance(found, Destination)
        return found
    finally:
        await reader.stop()


async def test_each_path_leads_where_it_says(around: Bench, own_broker: Broker, tmp_path: Path) -> None:
    async with dns_server() as dns, smtp_server() as mx, smtp_server() as relay, smtp_server() as moved:
        dns.publish("example.org", "MX", "10 mx.example.org.")
        dns.publish("mx.example.org", "A", "127.0.0.1")
        sender = SenderProcess(
            own_broker.bootstrap_servers,
            tmp_path,
            upstream=None,
            dns_servers=f"127.0.0.1:{dns.port}",
            mx_port=str(mx.port),
            mx_allowed_networks="127.0.0.0/8",
            sealing_keys=SEALING_KEY,
        )
        try:
            # direct
            done = await told(around, along("mx:main"))
            assert isinstance(done, AttemptFinished)
            assert (done.outcome, done.detail.path, len(mx.mails)) == ("delivered", "mx:main", 1)
            assert done.detail.mx_host == f"mx.example.org:{mx.port}"
            found = await destination_told(own_broker.bootstrap_servers)
            assert (found.destination, found.provider_group) == ("example.org", "example.org")
            assert found.mx_hosts == ["mx.example.org"]
            # what it does not have costs no attempt
            for path in ("upstream", "mx:other", UPSTREAM):
                back = await told(around, along(path))
                assert isinstance(back, AttemptPostponed), path
                assert back.reason == "path_down"
            # an upstream, and its next version
            sealed = Seals([SEALING_KEY]).seal("a password that nobody asks for")
            await put(around, upstream(relay.port, sealed_password=sealed))
            await until(lambda: sender.said("upstream_changed"), within=20)
            done = await told(around, along(UPSTREAM))
            assert isinstance(done, AttemptFinished)
            assert (done.outcome, done.detail.path, len(relay.mails)) == ("delivered", UPSTREAM, 1)
            await put(around, upstream(moved.port, version=2))
            await until(lambda: sender.log_file.read_text().count("upstream_changed") == 2, within=20)
            await told(around, along(UPSTREAM))
            assert (len(relay.mails), len(moved.mails)) == (1, 1)
            # nobody's mail goes through another project's
            await put(around, upstream(moved.port, version=3, project_id=f"{PROJECT}x"))
            await until(lambda: sender.log_file.read_text().count("upstream_changed") == 3, within=20)
            back = await told(around, along(UPSTREAM))
            assert isinstance(back, AttemptPostponed)
            assert len(moved.mails) == 1
        finally:
            sender.terminate()
            sender.end(within=5)
