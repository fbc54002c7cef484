"""What mail servers do to mail, seen from outside: the ladder to its end, hard bounces, a lost reply, poison (R22 to R24).

Runs through the documented knobs: UPSTREAM, RETRY_SCHEDULE, IDEMPOTENCY_WINDOW.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaProducer

from chassis.ids import parse_message_id
from schemas.envelope import to_ms
from schemas.topics import TOPICS, dlq_name, message_inputs
from tests.kit.oracle import Evidence, by_message, judge
from tests.kit.smtp_server import CLOSE, At, Fault, SmtpServer, says, smtp_server
from tests.kit.stack import Json, Stack
from tests.kit.waiting import eventually

GAPS = (1.0, 1.0, 2.0, 2.0, 3.0)  # seconds: what RETRY_SCHEDULE says below
WINDOW = 4.0  # seconds


@dataclass(slots=True)
class Fates:
    """What the mail server does to whom: by the recipient's local part."""

    lost_once: set[str] = field(default_factory=set)

    def script(self, at: At, recipient: str) -> Fault | None:
        local = recipient.partition("@")[0]
        if at == "rcpt" and local.startswith("busy"):
            return says("450 4.2.1 Come back later")
        if at == "rcpt" and local.startswith("gone"):
            return says("550 5.1.1 No such user")
        if at == "reply" and local.startswith("lost") and recipient not in self.lost_once:
            self.lost_once.add(recipient)
            return CLOSE
        return None


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[SmtpServer]:
    async with smtp_server(Fates().script) as running:
        yield running


@pytest.fixture(scope="module")
async def faulty(server: SmtpServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    knobs = {
        "UPSTREAM": f"127.0.0.1:{server.port}",
        "RETRY_SCHEDULE": ",".join(f"{gap:g}s" for gap in GAPS),
        "IDEMPOTENCY_WINDOW": f"{WINDOW:g}s",
    }
    async with Stack(tmp_path_factory.mktemp("run"), port_base=25000, knobs=knobs) as running:
        yield running


def statuses(message: Json) -> list[str]:
    return [event["data"]["status"] for event in message["timeline"]]


async def test_a_deferred_mail_is_tried_six_times_and_bounces(faulty: Stack, server: SmtpServer) -> None:
    """R22, D31."""
    sent = await faulty.send("busy@example.org")
    message = await faulty.message_when(sent["message_id"], "bounced", within=60)
    assert statuses(message) == ["queued", "accepted", *["deferred"] * 5, "bounced"]
    attempts = [event["data"]["attempt"] for event in message["timeline"][2:]]
    assert [attempt["number"] for attempt in attempts] == [1, 2, 3, 4, 5, 6]
    starts = [to_ms(attempt["started_at"]) for attempt in attempts]
    ends = [to_ms(attempt["finished_at"]) for attempt in attempts]
    waits = [(start - end) / 1000 for start, end in zip(starts[1:], ends[:-1], strict=True)]
    assert all(wait >= gap - 0.1 for wait, gap in zip(waits, GAPS, strict=True)), waits
    assert message["outcome"] == {
        "code": 450,
        "enhanced_code": "4.2.1",
        "category": "throttled",
        "reply": "450 4.2.1 Come back later",
    }
    assert server.reached["rcpt"] >= 6
    assert sent["message_id"] not in {mail.message_id for mail in server.mails}


async def test_a_hard_bounce_suppresses_its_recipient(faulty: Stack) -> None:
    """R11: with the causing event as provenance; the next mail to it does not start."""
    sent = await faulty.send("gone@example.org")
    message = await faulty.message_when(sent["message_id"], "bounced")
    assert message["outcome"]["category"] == "invalid_recipient"

    async def listed() -> bool:
        return (await faulty.call("GET", "/v1/suppressions/gone@example.org"))[0] == 200

    await eventually(listed)
    _, suppression, _ = await faulty.call("GET", "/v1/suppressions/gone@example.org")
    assert (suppression["reason"], suppression["origin"]) == ("hard_bounce", "bounce")
    assert suppression["source_event_id"] == message["timeline"][-1]["id"]

    second = await faulty.send("Gone@example.org")
    stopped = await faulty.message_when(second["message_id"], "suppressed")
    assert stopped["timeline"][-1]["data"]["source_event_id"] == suppression["source_event_id"]


async def test_a_lost_reply_is_unknown_and_only_then_a_second_copy_goes(faulty: Stack, server: SmtpServer) -> None:
    """R23, D38."""
    sent = await faulty.send("lost@example.org")
    message = await faulty.message_when(sent["message_id"], "delivered", within=60)
    assert statuses(message) == ["queued", "accepted", "unknown", "delivered"]
    assert message["timeline"][2]["data"]["attempt"]["phase"] == "reply"
    mails = [mail for mail in server.mails if mail.message_id == sent["message_id"]]
    assert len(mails) == 2
    events = by_message(await faulty.read_topic("message-events"))
    copies = Counter(mail.message_id for mail in mails)
    assert judge(Evidence({sent["message_id"]}, events, copies)) == []


async def test_a_mail_that_must_not_go_twice_is_held_until_somebody_releases_it(
    faulty: Stack, server: SmtpServer
) -> None:
    """R2, R23: `on_unknown: hold`. One copy before the release, the second by it alone."""
    message_id = (await faulty.send("lost-hold@example.org", on_unknown="hold"))["message_id"]
    assert (await faulty.message_when(message_id, "held", within=60))["reason"] == "held_unknown"
    assert Counter(mail.message_id for mail in server.mails)[message_id] == 1
    status, message, _ = await faulty.call("POST", f"/v1/messages/{message_id}/release")
    assert (status, message["message_id"]) == (200, message_id)
    message = await faulty.message_when(message_id, "delivered")
    assert statuses(message) == ["queued", "accepted", "unknown", "held", "accepted", "delivered"]
    assert Counter(mail.message_id for mail in server.mails)[message_id] == 2
    status, refused, _ = await faulty.call("POST", f"/v1/messages/{message_id}/release")
    assert (status, refused["error"]["code"]) == (409, "conflict")


async def test_an_idempotency_key_is_free_again_after_its_window(faulty: Stack) -> None:
    """R3, D18: within the window the first answer, byte for byte; after it a new mail."""
    body = {"recipient": "window@example.org", "subject": "Hello", "text": "Hello."}
    began = asyncio.get_running_loop().time()
    _, first, _ = await faulty.call("POST", "/v1/messages", body, Idempotency_Key="window")
    _, again, headers = await faulty.call("POST", "/v1/messages", body, Idempotency_Key="window")
    assert asyncio.get_running_loop().time() - began < WINDOW, "this machine is too slow for this test's window"
    assert again == first
    assert headers["Idempotent-Replayed"] == "true"

    async def another() -> bool:
        _, later, _ = await faulty.call("POST", "/v1/messages", body, Idempotency_Key="window")
        return bool(later["message_id"] != first["message_id"])

    await eventually(another, within=3 * WINDOW, every=0.5)


async def test_a_poison_record_of_a_message_is_dead_lettered_and_the_message_held(faulty: Stack) -> None:
    """D26: nothing accepted goes silent, and the partition goes on."""
    sent = await faulty.send("busy-held@example.org")
    place = parse_message_id(sent["message_id"])
    assert place is not None
    producer = AIOKafkaProducer(bootstrap_servers=faulty.description["kafka"])
    await producer.start()
    topic = message_inputs(place.lane)
    junk = (b"\xff\xfe not JSON", b'{"type": "no.such"}', None, b"x" * 1_000_000)
    for value in junk:
        await producer.send_and_wait(topic.name, value, sent["message_id"].encode(), place.partition)
    await producer.stop()
    message = await faulty.message_when(sent["message_id"], "held")
    assert message["timeline"][-1]["data"]["reason"] == "internal_error"
    reference = message["timeline"][-1]["data"]["source_event_id"]
    assert reference.startswith(dlq_name("router", TOPICS[topic.entry]))
    after = await faulty.send("after-the-poison@example.org")
    await faulty.message_when(after["message_id"], "delivered")
