"""One stream of events in four places: Kafka, webhooks, pages and server-sent events say the same of a message, in one order (R31, R35).

Under load, while a router dies and another takes its partitions over, attempts are retried, endpoints fail, and the
stream is broken off and taken up again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from schemas.mail import TERMINAL
from tests.kit.event_stream import EventReader
from tests.kit.smtp_server import At, Fault, says, smtp_server
from tests.kit.stack import Json, Stack
from tests.kit.waiting import eventually
from tests.kit.webhook_receiver import Answer, WebhookReceiver

MAILS = 150
AT_ONCE = 15  # requests under way
KILL_AFTER = 50  # accepted mails
BREAK_AFTER = 100  # events of the stream
FAILING = 6  # calls of the endpoint: repeated, and too few to open its breaker


def busy_at_first(tried: set[str]) -> Any:
    """A server that takes its time, and says 451 once to every third recipient."""

    def script(at: At, recipient: str) -> Fault | None:
        if at == "rcpt" and recipient.startswith("third") and recipient not in tried:
            tried.add(recipient)
            return says("451 4.7.1 Try again")
        return Fault(delay=0.1) if at == "reply" else None

    return script


async def follow(stack: Stack, seen: list[Json], listening: asyncio.Event) -> None:
    """The stream from now on, for ever; broken off once in the middle."""
    last_id, headers = "", {"Accept": "text/event-stream", "Authorization": f"Bearer {stack.key('live')}"}
    url = stack.description["ingest"][0] + "/v1/events?after=now"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        while True:
            sent = {**headers, "Last-Event-ID": last_id} if last_id else headers
            async with session.get(url, headers=sent) as response:
                if response.status == 503:  # of a machine that has much to do: a client comes back
                    await asyncio.sleep(0.2)
                    continue
                assert response.status == 200, await response.text()
                listening.set()  # where it begins is settled
                reader = EventReader(response.content)
                while (event := await reader.next(within=60)) is not None:
                    seen.append(event.event)
                    last_id = event.id
                    if len(seen) == BREAK_AFTER:
                        break


async def send_all(stack: Stack, accepted: set[str], enough: asyncio.Event) -> None:
    async def one(number: int) -> None:
        async with slots:
            name = "third" if number % 3 == 0 else "user"
            mail = {"recipient": f"{name}{number}@d{number % 7}.example", "subject": "Hello", "text": "Hello."}
            status = 503
            while status == 503:  # of a machine that has much to do: asked again, it happens once
                status, answer, _ = await stack.call("POST", "/v1/messages", mail, Idempotency_Key=f"mail-{number}")
            assert status == 202, answer
            accepted.add(answer["message_id"])
            if len(accepted) >= KILL_AFTER:
                enough.set()

    slots = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(one(number) for number in range(MAILS)))


async def pages(stack: Stack) -> list[Json]:
    """The whole feed, page after page."""
    found: list[Json] = []
    cursor = ""
    while True:
        status, page, _ = await stack.call("GET", f"/v1/events?limit=100{cursor}")
        assert status == 200, page
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = f"&after={page['next_cursor']}"


def by_id(events: Iterable[Json]) -> dict[str, Json]:
    """Each event once. One id never has two contents."""
    found: dict[str, Json] = {}
    for event in events:
        assert found.setdefault(event["id"], event) == event, event["id"]
    return found


def lives(events: Iterable[Json]) -> Mapping[str, list[int]]:
    """Of each message the sequences, in the order in which they came."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        found[event["subject"]].append(event["sequence"])
    return found


@pytest.mark.timeout(240)  # a stack of its own, beside the drills
async def test_kafka_webhooks_pages_and_stream_tell_the_same_R35(tmp_path: Path) -> None:
    seen: list[Json] = []
    accepted: set[str] = set()
    enough = asyncio.Event()
    async with smtp_server(busy_at_first(set())) as server, WebhookReceiver() as receiver:
        knobs = {
            "REPLICAS": "router=2",
            "RETRY_SCHEDULE": "1s,1s,1s",
            "WEBHOOKS_RETRY_SCHEDULE": "1s,1s,2s,2s,2s",
            "UPSTREAM": f"127.0.0.1:{server.port}",
        }
        async with Stack(tmp_path / "run", port_base=28000, knobs=knobs) as stack:
            receiver.script("/hooks", *[Answer(500)] * FAILING)
            hook = {"url": receiver.url("/hooks"), "events": ["message.*"]}
            status, endpoint, _ = await stack.call("POST", "/v1/webhooks", hook)
            assert status == 201, endpoint
            listening = asyncio.Event()
            following = asyncio.create_task(follow(stack, seen, listening))
            await asyncio.wait_for(listening.wait(), 30)
            sending = asyncio.create_task(send_all(stack, accepted, enough))
            await asyncio.wait_for(enough.wait(), 60)
            stack.kill("router")
            await sending

            async def all_over() -> bool:
                assert not following.done() or following.result()
                ended = {event["subject"] for event in seen if event["data"].get("status") in TERMINAL}
                return ended >= accepted

            await eventually(all_over, within=90, every=0.2)
            in_kafka = [orjson.loads(value) for value in await stack.read_topic("message-events")]
            expected = by_id(in_kafka)

            async def everywhere() -> bool:
                return len(seen) >= len(expected) and len({r.webhook_id for r in receiver.received}) >= len(expected)

            await eventually(everywhere, within=60, every=0.2)
            listed = await pages(stack)
            following.cancel()
            calls = list(receiver.received)
    assert lives(expected.values()).keys() == accepted
    # once each, with the same content
    assert len(seen) == len(expected) == len(listed)
    assert by_id(seen) == by_id(listed) == expected
    called = [request.verified(endpoint["secret"]) for request in calls]
    assert all(event["timestamp"] == event.pop("timestamp") == event["time"] for event in map(dict, called))
    assert by_id({name: value for name, value in event.items() if name != "timestamp"} for event in called) == expected
    assert all(request.webhook_id == request.event["id"] for request in calls)
    assert len(calls) >= len(expected) + FAILING, "no call was repeated: nothing is proven of retries"
    # in one order per message: that of `sequence`, without a gap; repeats in Kafka go back, never ahead
    for told in (seen, listed):
        assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in lives(told).values())
    for sequences in lives(in_kafka).values():
        assert sorted(set(sequences), key=sequences.index) == list(range(1, max(sequences) + 1))
    assert any(event["type"] == "message.deferred" for event in seen)
