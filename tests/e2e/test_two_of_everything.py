"""300 mails through two replicas of everything and two pools, while a router and a sender die (R1, R20, R22 to R24; I1, I2, I5).

Counted on three sides by the oracle: what clients were told, what the SMTP server took, what the event topic says.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from schemas.mail import TERMINAL
from schemas.topics import TOPICS
from tests.kit.oracle import Evidence, by_message, judge
from tests.kit.smtp_server import At, Fault, SmtpServer, smtp_server
from tests.kit.stack import Stack
from tests.kit.waiting import eventually

MAILS = 300
AT_ONCE = 25  # requests under way
KILL_AFTER = 100  # accepted mails
POOL, TAG = "other-addresses", "by-the-other-pool"  # of every third mail


def slow_reply(at: At, recipient: str) -> Fault | None:
    """A server that takes its time before the 250, so that mail is in flight whenever something dies."""
    del recipient
    return Fault(delay=0.2) if at == "reply" else None


async def send_all(stack: Stack, accepted: set[str], enough: asyncio.Event) -> None:
    async def one(number: int) -> None:
        async with slots:
            tags = [TAG] if number % 3 == 0 else []
            mail = {
                "recipient": f"user{number}@d{number % 7}.example",
                "subject": "Hello",
                "text": "Hello.",
                "tags": tags,
            }
            status = 503
            while status == 503:  # of a machine that has much to do: asked again with its key, it happens once
                status, answer, _ = await stack.call(
                    "POST", "/v1/messages", mail, ingest=number % 2, Idempotency_Key=f"mail-{number}"
                )
            assert status == 202, answer
            accepted.add(answer["message_id"])
            if len(accepted) >= KILL_AFTER:
                enough.set()

    slots = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(one(number) for number in range(MAILS)))


async def route_to_the_other_pool(stack: Stack, port: int) -> None:
    """By a relay of its own: the same server, other senders."""
    relay = {"name": "relay", "host": "127.0.0.1", "port": port, "tls": "opportunistic", "pool": POOL}
    status, upstream, _ = await stack.call("POST", "/v1/upstreams", relay, key=stack.key("admin"))
    assert status == 201, upstream
    route = {"name": "other addresses", "match": {"tags": [TAG]}, "paths": [upstream["id"]]}
    status, answer, _ = await stack.call("POST", "/v1/routes", route, key=stack.key("admin"))
    assert status == 201, answer


def pools_of(events: Mapping[str, Sequence[Any]]) -> dict[tuple[str, ...], set[str]]:
    """By tags, the pools that mail was accepted for."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for event in (event for history in events.values() for event in history if event["type"] == "message.accepted"):
        found[tuple(event["data"]["tags"])].add(event["data"]["pool"])
    return dict(found)


async def finished(stack: Stack) -> set[str]:
    """Ids whose last event is final."""
    grouped = by_message(await stack.read_topic("message-events"))
    last = {key: max(events, key=lambda event: event["sequence"]) for key, events in grouped.items()}
    return {key for key, event in last.items() if event["data"]["status"] in TERMINAL}


async def kill_with_mail_in_flight(stack: Stack, service: str, accepted: set[str], server: SmtpServer) -> None:
    pid = stack.kill(service)
    taken = {mail.message_id for mail in server.mails}
    assert accepted - taken, f"nothing was in flight when {service} {pid} died: the drill proves nothing"


async def test_nothing_is_lost_or_silently_doubled(tmp_path: Path) -> None:
    knobs = {
        "REPLICAS": "ingest=2 router=2 sender=2 webhooks=2",
        "RETRY_SCHEDULE": "1s,1s,2s,2s,3s",
        "SENDARIX_POOLS": f"main,{POOL}",
    }
    async with smtp_server(slow_reply) as server:
        knobs["UPSTREAM"] = f"127.0.0.1:{server.port}"
        async with Stack(tmp_path / "run", port_base=22000, knobs=knobs) as stack:
            await route_to_the_other_pool(stack, server.port)
            accepted: set[str] = set()
            enough = asyncio.Event()
            sending = asyncio.create_task(send_all(stack, accepted, enough))
            await asyncio.wait_for(enough.wait(), 60)
            await kill_with_mail_in_flight(stack, "router", accepted, server)
            await kill_with_mail_in_flight(stack, "sender", accepted, server)
            await sending
            assert len(accepted) == MAILS

            async def all_over() -> bool:
                return await finished(stack) >= accepted

            await eventually(all_over, within=120, every=1)
            events = by_message(await stack.read_topic("message-events"))
            copies = Counter(mail.message_id for mail in server.mails)
            assert judge(Evidence(accepted, events, copies)) == []
            assert pools_of(events) == {(): {"main"}, (TAG,): {POOL}}
            await _every_record_has_a_producer_that_the_contract_names(stack)


SEEDED = ("projects", "api-keys", "domains", "templates")  # by the stack itself, before any service runs


async def _every_record_has_a_producer_that_the_contract_names(stack: Stack) -> None:
    for entry, topic in TOPICS.items():
        for value in await stack.read_topic(entry):
            if value is not None:
                source = orjson.loads(value)["source"].removeprefix("/sendarix/")
                allowed = {*topic.producers, "local"} if entry in SEEDED else set(topic.producers)
                assert source in allowed, f"{source} wrote to {topic.name}"
