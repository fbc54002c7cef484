"""A sender process goes by the installation's policies, and says how its paths fare (R20, R21)."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from chassis.log import outgoing
from schemas.envelope import decode, seal, to_timestamp
from schemas.inputs import AttemptFinished, AttemptPostponed
from schemas.routing import PATH_HEALTH, PathHealth, Policy, SenderAlive
from schemas.topics import TOPICS
from tests.kit.broker import Broker
from tests.kit.senders import Bench, SenderProcess, bench, delivery, now_ms
from tests.kit.smtp_server import says, script_of, smtp_server
from tests.kit.waiting import until


@pytest.fixture
async def around(own_broker: Broker) -> AsyncIterator[Bench]:
    async with bench(own_broker.bootstrap_servers) as found:
        yield found


async def put(around: Bench, version: int, per_second: float | None) -> None:
    """The installation's policy for the smarthost's path."""
    now = to_timestamp(now_ms())
    policy = Policy(
        id="pol_06GC8M3CFE0000000000000001",
        project_id="",
        name="slowly",
        version=version,
        created_at=now,
        updated_at=now,
        updated_by="key_1",
        provider_groups=["upstream"],
        per_second=per_second,
    )
    envelope = seal(
        policy, record_id=f"rec_{version}", source="test", subject=policy.id, time_ms=now_ms(), project_id=""
    )
    await around.log.append([outgoing(TOPICS["policies"], envelope, key=policy.id)], within=10)


async def health_of(bootstrap_servers: str, *, delivered: int) -> tuple[PathHealth, SenderAlive]:
    """The first that counts so many, and the last heartbeat before it."""
    reader = AIOKafkaConsumer(
        TOPICS["path-health"].name, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest"
    )
    await reader.start()
    alive: SenderAlive | None = None
    try:
        async for record in reader:
            found = decode(record.value, PATH_HEALTH).data
            if isinstance(found, SenderAlive):
                alive = found
            elif isinstance(found, PathHealth) and found.delivered >= delivered and alive is not None:
                return found, alive
        raise AssertionError("the topic has no end")
    finally:
        await reader.stop()


async def test_a_policy_changes_the_pace_of_what_waits(around: Bench, own_broker: Broker, tmp_path: Path) -> None:
    """R21: one mail in two seconds; then as fast as they go, without a hand-out anew."""
    items = [delivery(partition=n % 3) for n in range(12)]
    await put(around, 1, per_second=0.5)
    async with smtp_server() as server:
        sender = SenderProcess(own_broker.bootstrap_servers, tmp_path, upstream=server.port)
        try:
            await around.hand_out(items)
            await until(lambda: len(server.mails) >= 2, within=60)
            assert len(server.mails) <= 4
            await put(around, 2, per_second=None)
            changed = time.monotonic()
            await until(lambda: len(server.mails) == len(items), within=30)
            assert time.monotonic() - changed < 10, "at the old pace it takes 16 s and more"
            await around.told_of(items)
            assert all(isinstance(around.told.of(item.message_id)[0], AttemptFinished) for item in items)
            found, alive = await health_of(own_broker.bootstrap_servers, delivered=len(items))
        finally:
            sender.terminate()
            sender.end(within=10)
    assert (found.path, found.provider_group, found.deferred, found.closed_until_ms) == (
        "upstream",
        "upstream",
        0,
        None,
    )
    assert "upstream" in alive.paths


async def test_a_throttling_server_is_left_alone_and_its_mail_goes_back(
    around: Bench, own_broker: Broker, tmp_path: Path
) -> None:
    """R21: what it said stands beside the time until which nothing goes there; what comes meanwhile uses no attempt."""
    reply = says("421 4.7.28 Gmail has detected an unusual rate of unsolicited email originating from your IP address")
    async with smtp_server(script_of({"mail": reply})) as server:
        sender = SenderProcess(own_broker.bootstrap_servers, tmp_path, upstream=server.port)
        try:
            first = delivery()
            await around.hand_out([first])
            await around.told_of([first], within=60)
            told = around.told.of(first.message_id)[0]
            assert isinstance(told, AttemptFinished)
            assert (told.outcome, told.category) == ("temporary", "throttled")
            later = [delivery(partition=n) for n in range(5)]
            await around.hand_out(later)
            await around.told_of(later)
            for item in later:
                back = around.told.of(item.message_id)[0]
                assert isinstance(back, AttemptPostponed)
                assert back.reason == "paced"
                assert back.until_ms > now_ms() + 60_000
            assert not server.mails
        finally:
            sender.terminate()
            sender.end(within=10)
