"""A team of the house subscribes (R32): the example of the documents, under the access rules of the documents, on a broker that keeps to them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from schemas.envelope import CONTENT_TYPE
from schemas.topics import TOPICS
from tests.kit.access_rules import apply, guarded_broker, rules_of_commands, rules_of_users
from tests.kit.examples import examples_of_type
from tests.kit.topics import admin
from tests.kit.waiting import until

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "kafka_consumer.py"
RULES = ROOT / "deploy" / "kafka-access"
PASSWORDS = {"shop": "shop-pass", "billing": "billing-pass", "stranger": "stranger-pass"}
EVENTS, SUPPRESSIONS, INTERNAL = (TOPICS[entry].name for entry in ("message-events", "suppressions", "projects"))
MESSAGES, EACH = 5, 12
HEADERS = [("content-type", CONTENT_TYPE.encode())]
STUMBLES = """
stumbled = set()
def stumble(event):
    if event["id"] not in stumbled and event["sequence"] % 4 == 0:
        stumbled.add(event["id"])
        raise RuntimeError("the database is away")
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    owner: str  # bootstrap servers, for whoever runs it
    teams: str  # … for those who log in


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    with guarded_broker(PASSWORDS) as (owner, teams):
        async with admin(owner) as client:
            await client.create_topics(
                [NewTopic(EVENTS, 12, 1), NewTopic(SUPPRESSIONS, 1, 1), NewTopic(INTERNAL, 1, 1)]
            )
        await apply(owner, rules_of_commands(RULES / "teams.sh"))
        yield Cluster(owner, teams)


def test_commands_and_users_give_the_same_rights() -> None:
    assert rules_of_commands(RULES / "teams.sh") == rules_of_users(RULES / "teams.yaml") != set()


def test_the_documents_show_the_example_and_the_rules_as_they_are() -> None:
    page = (ROOT / "docs" / "kafka-subscriptions.md").read_text()
    assert f"```python\n{EXAMPLE.read_text()}```" in page
    commands = [line for line in (RULES / "teams.sh").read_text().splitlines() if "User:shop" in line]
    assert "```sh\n" + "\n".join(commands) + "\n```" in page


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 30


async def test_it_gets_every_event_in_order_through_a_kill_and_its_own_errors(cluster: Cluster) -> None:
    expected = {f"msg_{number}": list(range(1, EACH + 1)) for number in range(MESSAGES)}
    await _publish(cluster.owner, first=1, last=EACH // 2)
    async with _running(cluster) as lines:
        await until(lambda: len(lines) == MESSAGES * EACH // 2, within=30)
        before = _sequences(lines)
        assert before == {message: sequences[: EACH // 2] for message, sequences in expected.items()}
    await _publish(cluster.owner, first=EACH // 2 + 1, last=EACH)
    async with _running(cluster, stumbling=True) as lines:
        await until(lambda: _ends(lines) == dict.fromkeys(expected, EACH), within=30)
        for message, sequences in _sequences(lines).items():  # the last one before the kill may come again
            assert sequences[-EACH // 2 :] == expected[message][EACH // 2 :]
            assert sequences == sorted(set(sequences))
            assert len(sequences) <= EACH // 2 + 1


async def test_a_team_may_read_what_is_public_and_do_nothing_else(cluster: Cluster) -> None:
    assert await _reads(cluster, "shop", EVENTS, group="shop.other")
    assert await _reads(cluster, "shop", SUPPRESSIONS, group="shop.other")
    assert await _reads(cluster, "billing", EVENTS, group="billing.invoices")
    for who, topic, group in (
        ("shop", INTERNAL, "shop.other"),
        ("billing", SUPPRESSIONS, "billing.invoices"),
        ("stranger", EVENTS, "shop.orders"),
        ("shop", EVENTS, "billing.invoices"),
    ):
        assert not await _reads(cluster, who, topic, group=group), (who, topic, group)
    producer = AIOKafkaProducer(bootstrap_servers=cluster.teams, **_login("shop"))
    await producer.start()
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(EVENTS, b"{}")
    finally:
        await producer.stop()


# what helps


def _login(who: str) -> dict[str, str]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": who,
        "sasl_plain_password": PASSWORDS[who],
    }


async def _reads(cluster: Cluster, who: str, topic: str, *, group: str) -> bool:
    """Whether they may: an answer of the broker, not a time-out."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=cluster.teams, group_id=group, auto_offset_reset="earliest", **_login(who)
    )
    try:
        await consumer.start()
        await consumer.getmany(timeout_ms=200)
    except (TopicAuthorizationFailedError, GroupAuthorizationFailedError):
        return False
    finally:
        await consumer.stop()
    return True


async def _publish(servers: str, *, first: int, last: int) -> None:
    """The next events of each message, as the router keys them."""
    (example, *_) = examples_of_type("message.deferred")
    record = orjson.loads(example.value)
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for sequence in range(first, last + 1):
            for number in range(MESSAGES):
                value = record | {"id": f"evt_{number}_{sequence}", "subject": f"msg_{number}", "sequence": sequence}
                await producer.send(EVENTS, orjson.dumps(value), key=f"msg_{number}".encode(), headers=HEADERS)
        await producer.flush()


@asynccontextmanager
async def _running(cluster: Cluster, *, stumbling: bool = False) -> AsyncIterator[list[str]]:
    """What the example prints; killed at the end, without a word. While `stumbling`, every fourth event fails at first."""
    source, handled = EXAMPLE.read_text(), '    if event["sequence"] >'
    assert handled in source
    if stumbling:
        source = STUMBLES + source.replace(handled, f"    stumble(event)\n{handled}")
    login = {"KAFKA_USERNAME": "shop", "KAFKA_PASSWORD": PASSWORDS["shop"], "KAFKA_BOOTSTRAP_SERVERS": cluster.teams}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, env=os.environ | login, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []

    async def gather(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            lines.extend([line.decode()] if line.startswith(b"msg_") else [])  # FastStream's own log goes there, too

    gathering = asyncio.create_task(gather(process.stdout))
    try:
        yield lines
    finally:
        process.kill()
        await process.wait()
        await gathering


def _sequences(lines: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for message, sequence, *_ in map(str.split, lines):
        found.setdefault(message, []).append(int(sequence))
    return found


def _ends(lines: list[str]) -> dict[str, int]:
    return {message: sequences[-1] for message, sequences in _sequences(lines).items()}
