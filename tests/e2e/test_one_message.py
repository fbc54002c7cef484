"""The walk of one mail: HTTP, Kafka, SMTP, inbox, and back as events (R1, R3, R11, R13, R24, R30 to R32)."""

import asyncio
import email.policy
from email import message_from_bytes
from email.message import EmailMessage, Message

from tests.kit.oracle import by_message
from tests.kit.stack import Json, Stack
from tests.kit.waiting import found
from tests.kit.webhook_receiver import WebhookReceiver

WALK = ["message.queued", "message.accepted", "message.delivered"]


def mail_of(stack: Stack, message_id: str) -> EmailMessage:
    """The one mail in the mailbox that carries this message's id."""
    (found,) = (mail for mail in stack.mails() if message_id in str(mail["Message-ID"]))
    parsed: Message = message_from_bytes(found.as_bytes(), policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


async def test_one_mail_from_http_to_the_inbox_and_back_as_events(stack: Stack) -> None:
    async with WebhookReceiver() as receiver:
        hook = {"url": receiver.url("/hooks"), "events": ["message.*"]}
        status, endpoint, _ = await stack.call("POST", "/v1/webhooks", hook)
        assert status == 201
        _, feed, _ = await stack.call("GET", "/v1/events?after=now")  # others have sent through this stack before
        cursor = feed["next_cursor"]

        status, answer, headers = await stack.call(
            "POST",
            "/v1/messages",
            {
                "recipient": "Ada Lovelace <ada@example.org>",
                "subject": "Grüße – your code",
                "text": "Your code is 847291.\n.\nIt expires.",
                "html": "<p>Your code is <b>847291</b>.</p>",
                "tags": ["otp"],
                "metadata": {"order": "1042"},
                "headers": {"X-Order": "1042"},
            },
        )
        assert status == 202
        assert list(answer) == ["message_id", "status", "recipient", "created_at"]
        assert answer["status"] == "queued"
        for name in ("X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"):
            assert name in headers
        message_id = answer["message_id"]

        # Just accepted, it is there at once, whatever the read side knows yet (R30).
        assert (await stack.message(message_id))["message_id"] == message_id
        message = await stack.message_when(message_id, "delivered")
        timeline: list[Json] = message["timeline"]
        assert [event["type"] for event in timeline] == WALK
        assert [event["sequence"] for event in timeline] == [1, 2, 3]
        assert (message["attempts"], message["next_attempt_at"], message["reason"]) == (1, None, None)
        assert message["outcome"]["code"] == 250

        mail = mail_of(stack, message_id)
        assert mail["Subject"] == "Grüße – your code"
        assert mail["X-Order"] == "1042"
        assert "d=example.com;" in mail["DKIM-Signature"]  # R26: of the seeded domain
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert text is not None
        assert html is not None
        assert text.get_content().splitlines() == ["Your code is 847291.", ".", "It expires."]
        assert "<b>847291</b>" in html.get_content()

        # The same events, with the same ids and content, in Kafka, at the endpoint and in the feed (R31, R32, R35).
        in_kafka = by_message(await stack.read_topic("message-events"))[message_id]
        assert in_kafka == timeline
        requests = await receiver.requests("/hooks", 3, within=20)
        at_endpoint = {request.webhook_id: request.verified(endpoint["secret"]) for request in requests}
        assert {
            key: {**event, "timestamp": event["time"]} for event in timeline for key in [event["id"]]
        } == at_endpoint
        status, feed, _ = await stack.call("GET", f"/v1/events?limit=100&after={cursor}")
        assert [event for event in feed["data"] if event["subject"] == message_id] == timeline

        status, attempts, _ = await stack.call("GET", f"/v1/webhooks/{endpoint['id']}/attempts")
        assert (status, {attempt["outcome"] for attempt in attempts["data"]}) == (200, {"succeeded"})
        status, _, _ = await stack.call("DELETE", f"/v1/webhooks/{endpoint['id']}")
        assert status in {200, 204}


async def test_a_list_shows_the_newest_first_and_filters(stack: Stack) -> None:
    sent = [(await stack.send(f"list{number}@filters.example", tags=["list"]))["message_id"] for number in range(3)]
    for message_id in sent:
        await stack.message_when(message_id, "delivered")
    status, page, _ = await stack.call("GET", "/v1/messages?tag=list&status=delivered&limit=2")
    assert status == 200
    assert [message["message_id"] for message in page["data"]] == sorted(sent)[:0:-1]
    assert page["has_more"]
    status, rest, _ = await stack.call(
        "GET", f"/v1/messages?tag=list&status=delivered&limit=2&after={page['next_cursor']}"
    )
    assert [message["message_id"] for message in rest["data"]] == sorted(sent)[:1]
    assert not rest["has_more"]


async def test_identical_keyed_requests_over_two_replicas_are_one_mail(stack: Stack) -> None:
    body = {"recipient": "once@example.org", "subject": "Once", "text": "Only once."}
    answers = await asyncio.gather(
        *(stack.call("POST", "/v1/messages", body, ingest=n % 2, Idempotency_Key="e2e-once") for n in range(50))
    )
    assert {status for status, _, _ in answers} == {202}
    (message_id,) = {answer["message_id"] for _, answer, _ in answers}
    assert sum("Idempotent-Replayed" not in headers for _, _, headers in answers) == 1
    await stack.message_when(message_id, "delivered")
    assert stack.copies()[message_id] == 1
    status, refused, _ = await stack.call("POST", "/v1/messages", {**body, "text": "Other"}, Idempotency_Key="e2e-once")
    assert (status, refused["error"]["code"]) == (422, "idempotency_key_reused")


async def test_nothing_starts_for_a_suppressed_recipient(stack: Stack) -> None:
    address = {"recipient": "gone@example.org", "reason": "manual"}
    status, _, _ = await stack.call("POST", "/v1/suppressions", address)
    assert status == 201
    message_id = (await stack.send("Gone@example.org"))["message_id"]
    message = await stack.message_when(message_id, "suppressed")
    assert message["reason"] == "manual"
    assert stack.copies()[message_id] == 0


async def test_a_revoked_key_is_refused_by_every_replica(stack: Stack) -> None:
    status, made, _ = await stack.call("POST", "/v1/api-keys", {"name": "short-lived", "environment": "test"})
    assert status == 201
    status, _, _ = await stack.call("DELETE", f"/v1/api-keys/{made['id']}")
    assert status in {200, 204}
    for replica in range(2):
        status, refused, _ = await stack.call("GET", "/v1/messages", key=made["key"], ingest=replica)
        assert (status, refused["error"]["code"]) == (401, "invalid_api_key")


async def test_bad_input_is_a_clear_error_and_queues_nothing(stack: Stack) -> None:
    before = set(by_message(await stack.read_topic("message-events")))
    bad: list[tuple[Json, str]] = [
        ({"recipient": "a\r\nb@example.org", "subject": "x", "text": "x"}, "recipient"),
        ({"recipient": "a@example.org", "subject": "x\nBcc: b@example.org", "text": "x"}, "subject"),
        ({"recipient": "a@example.org", "subject": "x", "text": "x", "headers": {"X-A: 1\r\nBcc": "b"}}, "headers"),
        ({"recipient": "a@example.org", "subject": "x", "text": "x", "from": "a@not-ours.example"}, "from"),
        ({"recipient": "a@example.org", "subject": "x", "text": "x", "scheduled_time": "2020-01-01T00:00:00Z"}, "scheduled_time"),
    ]  # fmt: skip
    for body, field in bad:
        status, answer, _ = await stack.call("POST", "/v1/messages", body)
        assert status == 422, body
        assert any(error["field"].startswith(field) for error in answer["errors"]), answer
        assert answer["request_id"].startswith("req_")
    sent = (await stack.send("sentinel@example.org"))["message_id"]
    await stack.message_when(sent, "delivered")
    assert set(by_message(await stack.read_topic("message-events"))) - before == {sent}


async def test_no_log_holds_a_key_a_body_or_a_whole_address(stack: Stack) -> None:
    sent = await stack.send("canary-recipient@example.org", text="canary-body", subject="canary-subject")
    await stack.message_when(sent["message_id"], "delivered")
    secrets = [*stack.description["keys"].values(), "canary-body", "canary-subject", "canary-recipient@example.org"]

    async def logged() -> str | None:
        text = "".join(path.read_text(errors="replace") for path in (stack.run_dir / "logs").glob("*.log"))
        return text or None

    text = await found(logged, within=10)
    assert [secret for secret in secrets if secret in text] == []
