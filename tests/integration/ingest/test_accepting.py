"""202 means: in the log (R1, R4, R15). And what gets a 4xx leaves nothing behind (D71 to D75)."""

import asyncio
import io
from typing import Any

import aiohttp
import pytest
from prometheus_client import generate_latest

from chassis.ids import parse_message_id
from chassis.log import Log
from tests.integration.ingest.stage import (
    Client,
    Tenant,
    ends_of,
    holds,
    known,
    neighbours_of,
    new_tenant,
    submits_of,
)
from tests.kit.broker import Broker

QUEUES = ("message-inputs.express", "message-inputs.standard", "idempotency")


async def test_202_means_in_the_log(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    body = tenant.mail(
        recipient="Ada <Ada@Example.org>",
        html="<p>Hi</p>",
        headers={"X-Order": "1042"},
        metadata={"order": "1042"},
        tags=["otp"],
        priority="critical",
        reply_to="help@example.net",
        **{"from": f"Shop <shop@{tenant.domain}>"},
    )
    reply = await ingest.send(tenant, body)
    assert reply.status == 202
    assert list(reply.json) == ["message_id", "status", "recipient", "created_at"]
    assert (reply.json["status"], reply.json["recipient"]) == ("queued", "Ada@example.org")
    assert "Idempotent-Replayed" not in reply.headers
    (submit,) = await submits_of(own_broker, reply.json["message_id"])
    assert (submit.recipient, submit.destination, submit.priority) == ("Ada@example.org", "example.org", "critical")
    assert submit.content.from_ == f"Shop <shop@{tenant.domain}>"
    assert submit.content.to == ["Ada <Ada@example.org>"]
    assert (submit.content.text, submit.content.html, submit.content.subject) == ("Hi\n", "<p>Hi</p>", "Hello")
    assert submit.content.reply_to == ["help@example.net"]
    assert submit.content.headers == {"X-Order": "1042"}
    assert (submit.tags, submit.metadata, submit.environment) == (["otp"], {"order": "1042"}, "live")
    assert submit.api_key_id == tenant.key_ids["live"]


async def test_the_default_sender_and_a_test_key(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    reply = await ingest.call("POST", "/v1/messages", key=tenant.keys["test"], json=tenant.mail())
    assert reply.status == 202
    (submit,) = await submits_of(own_broker, reply.json["message_id"])
    assert submit.content.from_ == f"Shop <hello@{tenant.domain}>"
    assert submit.environment == "test"


async def test_several_recipients_lie_together(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    """One partition, one batch: nothing of others between them, even while others send."""
    recipients = [f"u{n}@example.org" for n in range(50)]
    replies = await asyncio.gather(
        *(ingest.send(tenant, tenant.mail(recipient=recipients)) for _ in range(8)),
        *(ingest.send(tenant, tenant.mail()) for _ in range(40)),
    )
    assert {reply.status for reply in replies} == {202}
    for reply in replies[:8]:
        ids = [message["message_id"] for message in reply.json["messages"]]
        assert reply.json["message_id"] == ids[0]
        assert reply.json["recipient"] == recipients[0]
        assert [message["recipient"] for message in reply.json["messages"]] == recipients
        assert {message["role"] for message in reply.json["messages"]} == {"to"}
        places = {(place.lane, place.partition) for place in map(parse_message_id, ids) if place is not None}
        assert len(places) == 1
        around = [submit.message_id for submit in await neighbours_of(own_broker, ids[0])]
        begin = around.index(ids[0])
        assert around[begin : begin + 50] == ids


async def test_partitions_take_turns(ingest: Client, tenant: Tenant) -> None:
    replies = [await ingest.send(tenant, tenant.mail()) for _ in range(12)]
    places = [parse_message_id(reply.json["message_id"]) for reply in replies]
    assert {place.partition for place in places if place is not None} == set(range(12))


async def test_the_largest_content_that_goes_through_the_log(
    own_broker: Broker, ingest: Client, tenant: Tenant
) -> None:
    """50 recipients share 4 MiB of a batch; one has 128 KiB; more than that is a claim check (R5)."""
    text = "é" * (80 * 1024 // 2)  # the recipients stand in it, too
    recipients = [f"u{n}@example.org" for n in range(50)]
    reply = await ingest.send(tenant, tenant.mail(recipient=recipients, text=text))
    assert reply.status == 202
    last = reply.json["messages"][-1]["message_id"]
    (submit,) = await submits_of(own_broker, last)
    assert submit.content.text == text
    assert submit.content.blob is None
    for larger in ("é" * (64 * 1024), '"' * 120_000):  # quotes are two bytes each, as JSON
        reply = await ingest.send(tenant, tenant.mail(text=larger))
        assert reply.status == 202
        (submit,) = await submits_of(own_broker, reply.json["message_id"])
        assert submit.content.blob is not None
        assert submit.content.text is None


REFUSALS = {(422, "validation_error"), (422, "unsupported_field"), (422, "sender_not_allowed")}

NOT_JSON: list[bytes] = [
    b"", b"x", b"null", b"[]", b'"s"', b"{", b'{"recipient": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b"\xff",
    b"[" * 100_000, b'{"a":' * 100_000, b'{"recipient":' + b"9" * 5000 + b"}", b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
]  # fmt: skip

WRONG: list[dict[str, Any]] = [
    {"recipient": None}, {"subject": None}, {"text": None}, {"recipient": []}, {"recipient": 7}, {"recipient": {}},
    {"recipient": ["a@example.org"] * 51}, {"recipient": [f"u{n}@example.org" for n in range(100_00)]},
    {"recipient": "nobody"}, {"recipient": "a@example.org>\r\nRCPT TO:<evil@example.org"}, {"recipient": "a" * 100_000},
    {"recipient": "<a@example.org>b@example.org"}, {"recipient": "a\x00@example.org"}, {"recipient": "=?u?q?x?=@b.example"},
    {"subject": "a\r\nBcc: evil@example.org"}, {"subject": "a\nb"}, {"subject": "a\x00"}, {"subject": "a\u2028b"},
    {"subject": "x" * 999}, {"subject": []}, {"text": "a\x00b"}, {"html": "a\x00b"}, {"text": 7}, {"html": {}},
    {"headers": {"X-A: 1\r\nBcc": "evil@example.org"}}, {"headers": {"X-A": "1\r\nBcc: evil@example.org"}},
    {"headers": {"X-A": "1\x00"}}, {"headers": {"": "x"}}, {"headers": {"X A": "x"}}, {"headers": {"Bcc": "a@b.example"}},
    {"headers": {"X-A": 7}}, {"headers": []}, {"headers": {"From": "a@b.example"}}, {"headers": {"X-A": "x" * 1000}},
    {"metadata": {"a": 7}}, {"metadata": {"a": "\r\n"}}, {"metadata": {"a\n": "x"}}, {"metadata": []},
    {"metadata": {str(n): "" for n in range(51)}}, {"tags": ["a\r\n"]}, {"tags": ["a b"]}, {"tags": "otp"}, {"tags": [7]},
    {"priority": "urgent"}, {"priority": ["high"]}, {"priority": "high\n"}, {"reply_to": "x"}, {"reply_to": "a@b.example\n"},
    {"from": "a@b.example\r\nBcc: x"}, {"from": 7}, {"from": "someone@not-ours.example"}, {"cc": "a@b.example>"},
    {"scheduled_time": "2020-01-01T00:00:00Z"}, {"template": "otp"}, {"attachments": [{}]}, {"unknown": 1}, {"a\r\nb": 1},
]  # fmt: skip


async def test_bad_input_is_a_4xx_and_nothing_is_queued(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    before = await ends_of(own_broker, *QUEUES)
    for raw in NOT_JSON:
        reply = await ingest.call("POST", "/v1/messages", key=tenant.live, data=raw, headers={"Idempotency-Key": "bad"})
        assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_json"), raw[:30]
        assert_error_shape(reply.json)
    for changes in WRONG:
        reply = await ingest.send(tenant, tenant.mail(**changes), "bad")
        assert (reply.status, reply.json["error"]["code"]) in REFUSALS, changes
        assert reply.json["errors"], changes
        assert_error_shape(reply.json)
        assert_rate_headers(reply.headers)
    assert await ends_of(own_broker, *QUEUES) == before


async def test_all_faults_at_once(ingest: Client, tenant: Tenant) -> None:
    reply = await ingest.send(tenant, {"recipient": ["x", "a@example.org"], "subject": "\n", "cc": 1, "priority": "?"})
    assert [error["field"] for error in reply.json["errors"]] == ["recipient[0]", "cc", "subject", "text", "priority"]


async def test_the_sender_must_be_ours(ingest: Client, tenant: Tenant, log: Log) -> None:
    """R4: another's domain, a subdomain, an unverified or unknown one; and no default."""
    stranger = await new_tenant(log, default_from=None)
    await known(ingest, stranger)
    for sender in (f"a@{stranger.domain}", f"a@sub.{tenant.domain}", "a@example.com"):
        reply = await ingest.send(tenant, tenant.mail(**{"from": sender}))
        assert (reply.status, reply.json["error"]["code"]) == (422, "sender_not_allowed")
        assert [(e["field"], e["code"]) for e in reply.json["errors"]] == [("from", "sender_not_allowed")]
    reply = await ingest.send(stranger, stranger.mail())
    assert [(e["field"], e["code"]) for e in reply.json["errors"]] == [("from", "required")]


MAX_BODY = 52_428_800  # bytes (R5)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_huge_body_is_refused_early(ingest: Client, tenant: Tenant, chunked: bool) -> None:
    """D74: by its declared length, or as soon as it is too long; never read to its end."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        sent = 0
        while sent < 200 * 1024 * 1024:
            sent += 65536
            yield b" " * 65536

    async def refused() -> bool:
        body = endless() if chunked else io.BytesIO(b" " * (MAX_BODY + 1))
        try:
            reply = await ingest.call("POST", "/v1/messages", key=tenant.live, data=body)
        except aiohttp.ClientOSError:  # the refusal was lost to a client that was still writing (RFC 9112, 9.6)
            return False
        assert (reply.status, reply.json["error"]["code"]) == (413, "payload_too_large")
        return True

    await holds(refused, within=60)
    assert sent < 100 * 1024 * 1024


def assert_error_shape(body: Any) -> None:
    assert set(body) <= {"error", "errors", "request_id"}
    assert set(body["error"]) == {"code", "message", "hint"}
    assert body["request_id"].startswith("req_")
    assert all(set(error) == {"field", "code", "message"} for error in body.get("errors", []))


def assert_rate_headers(headers: Any) -> None:
    assert all(int(headers[f"X-RateLimit-{name}"]) >= 0 for name in ("Limit", "Remaining", "Reset"))
    assert headers["X-Request-Id"].startswith("req_")


async def test_requests_are_counted_under_their_pattern(ingest: Client, tenant: Tenant) -> None:
    """Never under a path, which would be a label without end, and never under none (R14)."""
    await ingest.send(tenant, tenant.mail())
    await ingest.call("GET", "/v1/suppressions/nobody@example.org", key=tenant.live)
    text = generate_latest().decode()
    for method, route in (("POST", "/v1/messages"), ("GET", "/v1/suppressions/{address:path}")):
        assert f'ingest_requests_total{{method="{method}",route="{route}"' in text
