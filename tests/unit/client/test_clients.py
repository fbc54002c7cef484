"""Both clients, over the same answers: one core, so one behaviour (R55, R3)."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import sendarix
from sendarix.exchange import Call, Listing
from sendarix.resources import events, messages, templates, webhooks

from tests.unit.client.servers import KEY, Server, page, refuses, says

SENT = {"message_id": "msg_1", "status": "queued", "recipient": "a@example.org", "created_at": "2027-01-15T08:00:00Z"}
MAIL: Any = {"recipient": "a@example.org", "subject": "Hello", "text": "Hello."}
TIMED_OUT = httpx.ReadTimeout("slow")
REFUSED = httpx.ConnectError("connection refused")

Ask = Callable[[Server, Call[Any]], Any]


def ask_sync(server: Server, call: Call[Any]) -> Any:
    with server.client() as client:
        return client.messages._session.run(call)


def ask_async(server: Server, call: Call[Any]) -> Any:
    async def run() -> Any:
        async with server.async_client() as client:
            return await client.messages._session.run(call)

    return asyncio.run(run())


both = pytest.mark.parametrize("ask", [ask_sync, ask_async])


@both
def test_every_attempt_carries_the_same_key_and_the_same_bytes(ask: Ask) -> None:
    server = Server([says(503), TIMED_OUT, REFUSED, says(500), says(202, SENT)])
    assert ask(server, messages.send(MAIL)) == SENT
    assert server.waits == [1.5, 2.5, 4.5, 8.5]
    assert {request.headers["Idempotency-Key"] for request in server.asked} == {"key-1"}
    assert len({request.content for request in server.asked}) == 1
    assert {request.headers["Authorization"] for request in server.asked} == {f"Bearer {KEY}"}


@both
def test_after_five_attempts_the_outcome_is_said_to_be_unknown(ask: Ask) -> None:
    server = Server(itertools.repeat(TIMED_OUT))
    with pytest.raises(sendarix.Unavailable) as caught:
        ask(server, messages.send(MAIL))
    assert len(server.asked) == 5
    assert caught.value.outcome_unknown
    assert caught.value.idempotency_key == "key-1"
    assert "repeat it with the idempotency key key-1, and it happens once" in str(caught.value)


@both
def test_a_server_that_is_not_there_got_nothing(ask: Ask) -> None:
    with pytest.raises(sendarix.Unavailable) as caught:
        ask(Server(itertools.repeat(REFUSED)), messages.send(MAIL))
    assert not caught.value.outcome_unknown
    assert "Nothing was done" in str(caught.value)


@both
def test_a_refusal_is_not_repeated(ask: Ask) -> None:
    faults = [{"field": "recipient", "code": "invalid_address", "message": "This is not a mail address."}]
    server = Server([refuses(422, "validation_error", "One field is wrong.", errors=faults)])
    with pytest.raises(sendarix.ValidationError) as caught:
        ask(server, messages.send(MAIL))
    assert server.waits == []
    assert caught.value.errors == (sendarix.FieldError("recipient", "invalid_address", "This is not a mail address."),)
    assert str(caught.value) == (
        "One field is wrong. Do this. (code validation_error, request req_1)"
        "\n  recipient: This is not a mail address. (invalid_address)"
    )


@both
def test_the_server_is_heard_when_it_asks_for_longer(ask: Ask) -> None:
    server = Server([says(429, {}, Retry_After="7"), says(202, SENT)])
    ask(server, messages.send(MAIL))
    assert server.waits == [7.0]


@both
def test_a_webhook_is_not_made_twice_and_carries_no_key(ask: Ask) -> None:
    server = Server([refuses(503, "unavailable")])
    with pytest.raises(sendarix.Unavailable):
        ask(server, webhooks.create(url="https://a.example"))
    assert len(server.asked) == 1
    assert "Idempotency-Key" not in server.asked[0].headers


@both
def test_a_repeated_cancellation_is_the_same_command(ask: Ask) -> None:
    server = Server([TIMED_OUT, says(200, {"message_id": "msg_1", "status": "cancelled"})])
    assert ask(server, messages.cancel("msg_1"))["status"] == "cancelled"
    assert [request.headers["Idempotency-Key"] for request in server.asked] == ["key-1", "key-1"]


@both
@pytest.mark.parametrize("body", [b"<html>", b'{"error": "x"}', b"[]", b"null", b"\xff"])
def test_whoever_else_answers_there_is_told_apart(ask: Ask, body: bytes) -> None:
    with pytest.raises(sendarix.InvalidRequest, match="not one of Sendarix"):
        ask(Server([httpx.Response(400, content=body)]), messages.get("msg_1"))
    with pytest.raises(sendarix.SendarixError, match="not JSON"):
        ask(Server([httpx.Response(200, content=b"<html>")]), messages.get("msg_1"))


@both
def test_a_broken_answer_is_no_answer(ask: Ask) -> None:
    def broken() -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

    with pytest.raises(sendarix.Unavailable):
        ask(Server(broken() for _ in range(5)), messages.get("msg_1"))


@both
def test_nothing_in_the_answer_is_none(ask: Ask) -> None:
    assert ask(Server([httpx.Response(204)]), templates.delete("welcome")) is None


Walk = Callable[[Server, Listing[Any], int], list[Any]]


def walk_sync(server: Server, listing: Listing[Any], count: int) -> list[Any]:
    with server.client() as client:
        return list(itertools.islice(client.messages._session.each(listing), count))


def walk_async(server: Server, listing: Listing[Any], count: int) -> list[Any]:
    async def run() -> list[Any]:
        async with server.async_client() as client:
            found: list[Any] = []
            async for entry in client.messages._session.each(listing):
                found.append(entry)
                if len(found) == count:
                    break
            return found

    return asyncio.run(run())


both_walks = pytest.mark.parametrize("walk", [walk_sync, walk_async])


@both_walks
def test_a_list_is_fetched_page_by_page_to_its_end(walk: Walk) -> None:
    server = Server([page(1, 2, after="c1"), page(3, after="c2"), page()])
    assert walk(server, messages.listed(tag="otp", limit=2), 10) == [1, 2, 3]
    assert [dict(request.url.params) for request in server.asked] == [
        {"tag": "otp", "limit": "2"},
        {"tag": "otp", "limit": "2", "after": "c1"},
        {"tag": "otp", "limit": "2", "after": "c2"},
    ]


@both_walks
def test_a_tail_goes_on_where_it_was_and_waits_only_at_the_end(walk: Walk) -> None:
    server = Server(
        [page(1, after="c1"), page(2, after="c2", more=False), page(after="c2", more=False), page(3, after="c3")]
    )
    assert walk(server, events.tail("c0", poll_seconds=2.0), 3) == [1, 2, 3]
    assert [request.url.params["after"] for request in server.asked] == ["c0", "c1", "c2", "c2"]
    assert server.waits == [2.0, 2.0]


@both_walks
def test_a_tail_from_now_on_goes_on_behind_the_end_it_was_told(walk: Walk) -> None:
    server = Server([page(after="c2", more=False), page(3, after="c3", more=False)])
    assert walk(server, events.tail("now"), 1) == [3]
    assert [request.url.params["after"] for request in server.asked] == ["now", "c2"]


@both_walks
def test_a_list_survives_an_outage_between_two_pages(walk: Walk) -> None:
    server = Server([page(1, after="c1"), says(503), page(2)])
    assert walk(server, messages.listed(), 10) == [1, 2]


def test_an_exception_per_code() -> None:
    kinds = {
        (400, "invalid_json"): sendarix.InvalidRequest,
        (401, "invalid_api_key"): sendarix.AuthenticationFailed,
        (403, "insufficient_scope"): sendarix.PermissionDenied,
        (404, "not_found"): sendarix.NotFound,
        (409, "conflict"): sendarix.Conflict,
        (413, "payload_too_large"): sendarix.InvalidRequest,
        (422, "unsupported_field"): sendarix.ValidationError,
        (422, "idempotency_key_reused"): sendarix.IdempotencyKeyReused,
        (418, "of_tomorrow"): sendarix.InvalidRequest,
    }
    for (status, code), kind in kinds.items():
        with pytest.raises(sendarix.SendarixError) as caught:
            ask_sync(Server([refuses(status, code)]), messages.get("msg_1"))
        error = caught.value
        assert (type(error), error.code, error.status, error.request_id) == (kind, code, status, "req_1")


def test_no_error_and_no_repr_holds_the_key() -> None:
    server = Server([refuses(401, "invalid_api_key")])
    with server.client() as client, pytest.raises(sendarix.AuthenticationFailed) as caught:
        client.messages.get("msg_1")
    told = str(caught.value) + repr(caught.value) + repr(client) + repr(client.messages._session._core)
    assert KEY not in told


def test_without_a_key_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENDARIX_API_KEY", raising=False)
    with pytest.raises(sendarix.NotConfigured, match="SENDARIX_API_KEY"):
        sendarix.Sendarix()
    for damaged in ("sk live", "sk_live_\u2026", "sk_\x07"):
        with pytest.raises(sendarix.NotConfigured, match="damaged"):
            sendarix.Sendarix(damaged)
    for url in ("localhost:18080", "ftp://a.example", "http://", "http://[", "http://a.example/?x=1"):
        with pytest.raises(sendarix.NotConfigured, match="SENDARIX_URL"):
            sendarix.Sendarix(KEY, url=url)
