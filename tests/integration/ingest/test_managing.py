"""Keys, scopes, rate limits, webhooks, suppressions, and reads passed on (R11, R13, R14, R31; D78, D79, D91)."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from chassis.clock import SystemClock
from chassis.ids import MessageIds
from chassis.log import Log, outgoing
from chassis.principal import HEADER, Principal, verify
from chassis.sealing import Seals
from chassis.table import ANSWER_AFTER
from schemas.envelope import Payload, decode, seal, to_timestamp
from schemas.tables import EndpointHealth, Suppression, WebhookEndpoint
from schemas.topics import TOPICS
from schemas.webhooks import ReplayState, WebhookReplay, WebhookTest
from services.ingest.api import bodies, edge
from services.ingest.domain.keys import new_key
from tests.integration.ingest.stage import (
    SEALING_KEY,
    SECRET,
    Client,
    Reply,
    Tenant,
    holds,
    known,
    new_tenant,
    replica,
)
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-Id")


async def rows(broker: Broker, entry: str, key: str) -> list[Payload | None]:
    """The values this key had in a topic, in order; None for a tombstone."""
    topic = TOPICS[entry]
    records = [
        record
        for partition in range(topic.partitions)
        for record in await everything_in(broker.bootstrap_servers, topic.name, partition)
        if record.key == key
    ]
    return [None if record.value is None else decode(record.value, topic.types).data for record in records]


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic x"])
async def test_without_a_key(ingest: Client, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    reply = await ingest.call("POST", "/v1/messages", json={}, headers=headers)
    assert (reply.status, reply.json["error"]["code"]) == (401, "missing_api_key")
    assert all(name in reply.headers for name in RATE_HEADERS)


async def test_every_wrong_key_gets_the_same_answer(ingest: Client, tenant: Tenant) -> None:
    """D81: malformed, with a wrong checksum, unknown: one text."""
    wrong = ["x", tenant.live[:-1] + ("0" if tenant.live[-1] != "0" else "1"), new_key("live")]
    replies = [await ingest.call("GET", "/v1/webhooks", key=key) for key in wrong]
    assert {reply.status for reply in replies} == {401}
    assert len({str(reply.json["error"]) for reply in replies}) == 1
    assert replies[0].json["error"]["code"] == "invalid_api_key"


async def test_a_key_from_creation_to_revocation(
    own_broker: Broker, ingest: Client, other_ingest: Client, tenant: Tenant
) -> None:
    """R13: shown once, stored as a hash, known everywhere when answered, revoked everywhere when answered (D79)."""
    asked = {"name": "shop", "environment": "live", "scopes": ["messages.send"]}
    made = await ingest.call("POST", "/v1/api-keys", key=tenant.keys["admin"], json=asked)
    assert made.status == 201
    key, key_id = made.json["key"], made.json["id"]
    assert key.startswith("sk_live_")
    assert (await other_ingest.call("POST", "/v1/messages", key=key, json=tenant.mail())).status == 202
    listed = await ingest.call("GET", "/v1/api-keys", key=tenant.keys["admin"])
    assert key.encode() not in listed.raw
    assert listed.json["data"][0] == {name: value for name, value in made.json.items() if name != "key"}
    records = await everything_in(own_broker.bootstrap_servers, TOPICS["api-keys"].name)
    assert not any(key.encode() in (record.value or b"") for record in records)

    begun = time.monotonic()
    revoked = await ingest.call("DELETE", f"/v1/api-keys/{key_id}", key=tenant.keys["admin"])
    assert (revoked.status, revoked.json) == (200, {"object": "api_key", "id": key_id, "deleted": True})
    for client in (ingest, other_ingest):
        assert (await client.call("POST", "/v1/messages", key=key, json=tenant.mail())).status == 401
    assert time.monotonic() - begun < 2
    again = await other_ingest.call("DELETE", f"/v1/api-keys/{key_id}", key=tenant.keys["admin"])
    assert again.status == 200


# --- rate limits ------------------------------------------------------------------------------------------------------


async def test_the_rate_limit_of_a_key(ingest: Client, log: Log) -> None:
    """R14: on every answer, whatever it is; then 429 with Retry-After, until X-RateLimit-Reset."""
    limited = await new_tenant(log, requests_per_minute=5)
    await known(ingest, limited)
    bodies: list[Any] = [limited.mail(), {}, [], limited.mail(), limited.mail()]
    replies = [await ingest.send(limited, body) for body in bodies]
    assert [reply.status for reply in replies] == [202, 422, 400, 202, 202]
    assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["4", "3", "2", "1", "0"]
    assert {reply.headers["X-RateLimit-Limit"] for reply in replies} == {"5"}
    over = await ingest.send(limited, limited.mail())
    assert (over.status, over.json["error"]["code"]) == (429, "rate_limited")
    assert 0 < int(over.headers["Retry-After"]) <= 61
    assert 0 < int(over.headers["X-RateLimit-Reset"]) - SystemClock().now_ms() / 1000 <= 61
    other = await ingest.call("POST", "/v1/messages", key=limited.keys["test"], json=limited.mail())
    assert other.status == 202  # each key has its own


async def test_replicas_share_a_limit(own_broker: Broker, log: Log, tmp_path: Path) -> None:
    limited = await new_tenant(log, requests_per_minute=10)
    async with replica(own_broker, tmp_path, replicas=5) as client:
        await holds(client.ready)
        statuses = [(await client.send(limited, limited.mail())).status for _ in range(3)]
    assert statuses == [202, 202, 429]


async def test_rate_headers_stand_on_every_answer(ingest: Client, tenant: Tenant) -> None:
    for method, path, key in [
        ("GET", "/v1/nothing", None), ("GET", "/nothing", tenant.live), ("PUT", "/v1/messages", tenant.live),
        ("GET", "/health/live", None), ("GET", "/v1/messages", tenant.live), ("GET", "/v1/messages", "sk_live_x"),
    ]:  # fmt: skip
        reply = await ingest.call(method, path, key=key)
        assert all(name in reply.headers for name in RATE_HEADERS), (method, path, reply.status)


async def test_guessing_keys_is_slow(own_broker: Broker, log: Log, tmp_path: Path) -> None:
    """D81: strangers of one address run out; good keys from there do not."""
    guest = await new_tenant(log)
    async with replica(own_broker, tmp_path, replicas=100) as client:
        await holds(client.ready)
        statuses = [(await client.call("GET", "/v1/webhooks", key=new_key("live"))).status for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert (await client.send(guest, guest.mail())).status == 202


# --- suppressions -----------------------------------------------------------------------------------------------------


async def test_a_suppression_from_post_to_delete(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    asked = {"recipient": "Bob <Bob@Example.NET>", "reason": "complaint"}
    begun = time.monotonic()
    made = await ingest.call("POST", "/v1/suppressions", key=tenant.live, json=asked)
    assert time.monotonic() - begun >= ANSWER_AFTER
    assert made.status == 201
    assert list(made.json) == ["id", "recipient", "reason", "origin", "tag", "source_event_id", "created_at"]
    assert (made.json["recipient"], made.json["reason"], made.json["origin"]) == ("bob@example.net", "complaint", "api")
    table_key = f"{tenant.project_id}:*:bob@example.net:api"
    (row,) = await rows(own_broker, "suppressions", table_key)
    assert isinstance(row, Suppression)
    assert row.id == made.json["id"]
    again = await ingest.call("POST", "/v1/suppressions", key=tenant.live, json={"recipient": "bob@example.net"})
    assert (again.json["id"], again.json["reason"]) == (made.json["id"], "manual")
    one = await ingest.call("GET", "/v1/suppressions/BOB@example.net", key=tenant.live)
    assert (one.status, one.json) == (200, {**again.json, "causes": [again.json]})
    gone = await ingest.call("DELETE", "/v1/suppressions/bob@example.net", key=tenant.live)
    assert (gone.status, gone.json) == (
        200,
        {"object": "suppression", "recipient": "bob@example.net", "deleted": True},
    )
    for method in ("GET", "DELETE"):
        reply = await ingest.call(method, "/v1/suppressions/bob@example.net", key=tenant.live)
        assert (reply.status, reply.json["error"]["code"]) == (404, "not_found")
    assert (await rows(own_broker, "suppressions", table_key))[-1] is None
    changes = await rows(own_broker, "account-events", tenant.project_id)
    types = [change.TYPE for change in changes if change is not None and getattr(change, "id", "") == row.id]
    assert types == ["suppression.added", "suppression.added", "suppression.removed"]


async def test_a_page_of_suppressions(ingest: Client, log: Log) -> None:
    owner = await new_tenant(log)
    await known(ingest, owner)
    addresses = [f"u{n}@example.net" for n in range(7)]
    for address in addresses:
        await ingest.call("POST", "/v1/suppressions", key=owner.live, json={"recipient": address})
    found: list[str] = []
    path = "/v1/suppressions?limit=3"
    pages = 0
    while path:
        page = (await ingest.call("GET", path, key=owner.live)).json
        assert page["object"] == "list"
        found += [entry["recipient"] for entry in page["data"]]
        pages += 1
        path = f"/v1/suppressions?limit=3&after={page['next_cursor']}" if page["has_more"] else ""
    assert (found, pages) == (addresses[::-1], 3)
    for query in ("limit=0", "after=%00", "limit=x"):
        assert (await ingest.call("GET", f"/v1/suppressions?{query}", key=owner.live)).status == 422


async def test_an_origin_can_be_named(ingest: Client, tenant: Tenant) -> None:
    await ingest.call("POST", "/v1/suppressions", key=tenant.live, json={"recipient": "eve@example.net"})
    path = "/v1/suppressions/eve@example.net"
    assert (await ingest.call("DELETE", f"{path}?origin=bounce", key=tenant.live)).status == 404
    assert (await ingest.call("DELETE", f"{path}?origin=x", key=tenant.live)).status == 422
    assert (await ingest.call("GET", path, key=tenant.live)).status == 200
    assert (await ingest.call("DELETE", f"{path}?origin=api", key=tenant.live)).status == 200


# --- webhooks ---------------------------------------------------------------------------------------------------------


async def test_a_webhook_from_post_to_delete(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    asked = {"url": "http://127.0.0.1:9/hook", "events": ["message.delivered"], "tags": ["otp"], "description": "d"}
    made = await ingest.call("POST", "/v1/webhooks", key=tenant.live, json=asked)
    assert made.status == 201
    secret = made.json.pop("secret")
    assert secret.startswith("whsec_")
    rest: dict[str, object] = {
        "disabled": False, "disabled_at": None, "disabled_reason": None, "rate_per_second": None, "old_secrets_until": [],
    }  # fmt: skip
    assert made.json == {"id": made.json["id"], **asked, **rest, "created_at": made.json["created_at"]}
    (row,) = await rows(own_broker, "webhook-endpoints", made.json["id"])
    assert isinstance(row, WebhookEndpoint)
    assert secret not in row.model_dump_json()
    assert Seals([SEALING_KEY]).open(row.sealed_secret) == secret
    one = await ingest.call("GET", f"/v1/webhooks/{made.json['id']}", key=tenant.live)
    assert (one.status, one.json) == (200, made.json)
    listed = await ingest.call("GET", "/v1/webhooks", key=tenant.live)
    assert listed.json == {"object": "list", "data": [made.json], "has_more": False, "next_cursor": None}
    gone = await ingest.call("DELETE", f"/v1/webhooks/{made.json['id']}", key=tenant.live)
    assert (gone.status, gone.json) == (200, {"object": "webhook", "id": made.json["id"], "deleted": True})
    assert (await ingest.call("GET", f"/v1/webhooks/{made.json['id']}", key=tenant.live)).status == 404


async def test_a_webhook_is_disabled_its_secret_rotated_and_tested(
    own_broker: Broker, ingest: Client, tenant: Tenant
) -> None:
    asked = {"url": "http://127.0.0.1:9/hook", "events": ["message.*"]}
    made = await ingest.call("POST", "/v1/webhooks", key=tenant.live, json=asked)
    path = f"/v1/webhooks/{made.json['id']}"
    changed = await ingest.call("PATCH", path, key=tenant.live, json={"disabled": True, "tags": ["otp"]})
    assert (changed.status, changed.json["disabled"], changed.json["tags"]) == (200, True, ["otp"])
    assert changed.json["events"] == ["message.*"]
    rotated = await ingest.call("POST", f"{path}/rotate-secret", key=tenant.live, json={"overlap": "1h"})
    assert (rotated.status, len(rotated.json["old_secrets_until"])) == (200, 1)
    row = (await rows(own_broker, "webhook-endpoints", made.json["id"]))[-1]
    assert isinstance(row, WebhookEndpoint)
    opened = [Seals([SEALING_KEY]).open(sealed) for sealed in (row.sealed_secret, row.old_secrets[0].sealed_secret)]
    assert opened == [rotated.json["secret"], made.json["secret"]]
    tested = await ingest.call("POST", f"{path}/test", key=tenant.live)
    assert (tested.status, tested.json["webhook_id"]) == (202, made.json["id"])
    (command,) = await rows(own_broker, "webhook-commands", made.json["id"])
    assert isinstance(command, WebhookTest)


async def test_a_webhook_that_said_it_is_gone_shows_it_is_not_replayed_to_and_is_enabled_again(
    own_broker: Broker, ingest: Client, tenant: Tenant, log: Log
) -> None:
    asked = {"url": "http://127.0.0.1:9/hook", "events": ["*"], "rate_per_second": 5}
    made = await ingest.call("POST", "/v1/webhooks", key=tenant.live, json=asked)
    path, window = f"/v1/webhooks/{made.json['id']}", {"since": made.json["created_at"], "only_failed": True}
    replayed = await ingest.call("POST", f"{path}/replays", key=tenant.live, json=window)
    assert (replayed.status, replayed.json["status"], replayed.json["endpoint_id"]) == (202, "queued", made.json["id"])
    (command,) = await rows(own_broker, "webhook-commands", made.json["id"])
    assert isinstance(command, WebhookReplay)
    assert (command.id, command.since, command.only_failed) == (replayed.json["id"], window["since"], True)
    assert (await ingest.call("GET", f"{path}/replays/{command.id}", key=tenant.live)).json == replayed.json

    now_ms = SystemClock().now_ms()
    gone = EndpointHealth(
        id=made.json["id"], project_id=tenant.project_id, failing_since=to_timestamp(now_ms),
        first_event_at=to_timestamp(now_ms), disabled_at=to_timestamp(now_ms), disabled_reason="gone",
    )  # fmt: skip
    record = seal(
        gone, record_id=gone.id, source="webhooks", subject=gone.id, time_ms=now_ms, project_id=tenant.project_id
    )
    await log.append([outgoing(TOPICS["endpoint-health"], record, key=gone.id)], within=15)

    async def shows() -> bool:
        found = (await ingest.call("GET", path, key=tenant.live)).json
        return (found["disabled"], found["disabled_reason"]) == (True, "gone")

    await holds(shows)
    listed = (await ingest.call("GET", "/v1/webhooks", key=tenant.live)).json["data"][0]
    assert listed["disabled_at"] == to_timestamp(now_ms)
    assert (await ingest.call("POST", f"{path}/replays", key=tenant.live, json=window)).status == 409
    enabled = await ingest.call("PATCH", path, key=tenant.live, json={"disabled": False})
    assert (enabled.status, enabled.json["disabled"], enabled.json["rate_per_second"]) == (200, False, 5)
    assert not (await ingest.call("GET", path, key=tenant.live)).json["disabled"]


async def test_replays_are_listed_by_pages_show_how_they_stand_and_go_with_their_webhook(
    own_broker: Broker, ingest: Client, tenant: Tenant, log: Log
) -> None:
    asked = {"url": "http://127.0.0.1:9/hook", "events": ["*"]}
    made = await ingest.call("POST", "/v1/webhooks", key=tenant.live, json=asked)
    path, window = f"/v1/webhooks/{made.json['id']}/replays", {"since": made.json["created_at"]}
    first, second, third = [(await ingest.call("POST", path, key=tenant.live, json=window)).json for _ in range(3)]
    page = (await ingest.call("GET", f"{path}?limit=2", key=tenant.live)).json
    assert page["data"] == [third, second]
    assert (await ingest.call("GET", f"{path}?after={page['next_cursor']}", key=tenant.live)).json["data"] == [first]
    (queued,) = [row for row in await rows(own_broker, "webhook-replays", first["id"]) if isinstance(row, ReplayState)]
    now = to_timestamp(SystemClock().now_ms())
    done = queued.model_copy(update={"status": "done", "matched": 9, "queued": 4, "finished_at": now})
    record = seal(done, record_id="rec_1", source="webhooks", subject=done.id, time_ms=0, project_id=tenant.project_id)
    await log.append([outgoing(TOPICS["webhook-replays"], record, key=done.id)], within=15)

    async def shows() -> bool:
        found = (await ingest.call("GET", f"{path}/{first['id']}", key=tenant.live)).json
        return bool(found == {**first, "status": "done", "matched": 9, "queued": 4, "finished_at": now})

    await holds(shows)
    other = await ingest.call("POST", "/v1/webhooks", key=tenant.live, json=asked)
    strange = f"/v1/webhooks/{other.json['id']}/replays/{first['id']}"
    assert (await ingest.call("GET", strange, key=tenant.live)).status == 404
    await ingest.call("DELETE", f"/v1/webhooks/{made.json['id']}", key=tenant.live)
    assert (await rows(own_broker, "webhook-replays", third["id"]))[-1] is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "https://169.254.169.254/", "http://example.com/", "x"])
async def test_production_calls_no_private_place(own_broker: Broker, tenant: Tenant, tmp_path: Path, url: str) -> None:
    """D91."""
    async with replica(own_broker, tmp_path, allow_loopback_webhooks=False) as client:
        await holds(client.ready)
        reply = await client.call("POST", "/v1/webhooks", key=tenant.live, json={"url": url, "events": ["*"]})
    assert (reply.status, [error["field"] for error in reply.json["errors"]]) == (422, ["url"])


# --- other tenants, and reads -----------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def analytics() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A read side that answers with what it was asked."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.json_response({"path": request.path_qs}, status=404 if "unknown" in request.path_qs else 200)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio.Server has it
    yield f"http://127.0.0.1:{port}", asked
    await runner.cleanup()


async def test_reads_are_passed_on_with_a_signed_principal(
    own_broker: Broker, tenant: Tenant, tmp_path: Path, analytics: tuple[str, list[web.Request]]
) -> None:
    url, asked = analytics
    ids = MessageIds({1: bytes.fromhex("ab" * 32)}, 1)
    message = ids.new(project_id=tenant.project_id, now_ms=1, lane="standard", partition=1).text
    query = "recipient=a%2Bb@example.org&tag=otp&limit=5"
    async with replica(own_broker, tmp_path, analytics_url=url) as client:
        await holds(client.ready)
        for path in (f"/v1/messages?{query}", f"/v1/messages/{message}", f"/v1/events?{query}"):
            reply = await client.call("GET", path, key=tenant.live)
            assert reply.status == 200
            assert asked[-1].raw_path == path
            principal = verify(asked[-1].headers[HEADER], SECRET.encode(), SystemClock().now_ms())
            assert isinstance(principal, Principal)
            assert (principal.project_id, principal.scopes) == (tenant.project_id, ("*",))
            assert "Authorization" not in asked[-1].headers
        made = await client.call(
            "POST", "/v1/webhooks", key=tenant.live, json={"url": "http://127.0.0.1:9/", "events": ["*"]}
        )
        path = f"/v1/webhooks/{made.json['id']}/attempts"
        assert (await client.call("GET", path, key=tenant.live)).json == {"path": path}


async def test_ids_of_others_are_not_found(
    own_broker: Broker,
    ingest: Client,
    tenant: Tenant,
    log: Log,
    tmp_path: Path,
    analytics: tuple[str, list[web.Request]],
) -> None:
    """D78: another tenant's id, a forged one, a malformed one and an unknown one get the same answer, unasked."""
    url, asked = analytics
    stranger = await new_tenant(log)
    await known(ingest, stranger)
    theirs = (await ingest.send(tenant, tenant.mail())).json["message_id"]
    forged = MessageIds({1: b"another secret!!"}, 1).new(
        project_id=stranger.project_id, now_ms=1, lane="standard", partition=1
    )  # fmt: skip
    own = MessageIds({1: bytes.fromhex("ab" * 32)}, 1).new(
        project_id=stranger.project_id, now_ms=1, lane="standard", partition=1
    )  # fmt: skip
    hook = (
        await ingest.call("POST", "/v1/webhooks", key=tenant.live, json={"url": "http://127.0.0.1:9/", "events": ["*"]})
    ).json["id"]
    async with replica(own_broker, tmp_path, analytics_url=url) as client:
        await holds(client.ready)
        await known(client, stranger)
        before = len(asked)
        replies: list[Reply] = [
            await client.call("GET", f"/v1/messages/{message_id}", key=stranger.live)
            for message_id in (theirs, forged.text, "msg_x", "x", "%00", f"{theirs}x")
        ]
        assert len(asked) == before
        replies.append(await client.call("GET", f"/v1/messages/{own.text}?unknown", key=stranger.live))
        assert len(asked) == before + 1
        assert {reply.status for reply in replies} == {404}
        assert len({str(reply.json["error"]) for reply in replies}) == 1
        for method, path in [
            ("GET", f"/v1/webhooks/{hook}"), ("DELETE", f"/v1/webhooks/{hook}"),
            ("GET", f"/v1/webhooks/{hook}/attempts"), ("DELETE", f"/v1/api-keys/{tenant.key_ids['live']}"),
        ]:  # fmt: skip
            ours = await client.call(method, path, key=stranger.live)
            nobodys = await client.call(method, path.replace(hook, "whk_0"), key=stranger.live)
            assert (ours.status, ours.json["error"]) == (404, nobodys.json["error"])


async def test_the_read_side_away_is_503(ingest: Client, tenant: Tenant) -> None:
    for path in ("/v1/messages", "/v1/events"):
        reply = await ingest.call("GET", path, key=tenant.live)
        assert (reply.status, reply.json["error"]["code"]) == (503, "unavailable")
        assert "Retry-After" in reply.headers
    assert (await ingest.send(tenant, tenant.mail())).status == 202


@pytest.mark.parametrize("path", ["/v1/webhooks", "/v1/suppressions", "/v1/api-keys"])
async def test_junk_bodies(ingest: Client, tenant: Tenant, path: str) -> None:
    for raw in (b"", b"[]", b"{", b'{"a":NaN}', b"\xff", b"[" * 50_000):
        reply = await ingest.call("POST", path, key=tenant.live, data=raw)
        assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_json")
    reply = await ingest.call("POST", path, key=tenant.live, data=b" " * 100_000)
    assert reply.status == 413
    reply = await ingest.call("POST", path, key=tenant.live, json={"nothing": ["of", {"this": 1}]})
    assert (reply.status, reply.json["error"]["code"]) == (422, "validation_error")


async def test_request_ids_do_not_mix(ingest: Client, tenant: Tenant) -> None:
    async def one(number: int) -> bool:
        headers = {"X-Request-Id": f"mine-{number}"}
        reply = await ingest.call("POST", "/v1/messages", key=tenant.live, json={}, headers=headers)
        return {reply.headers["X-Request-Id"], str(reply.json["request_id"])} == {f"mine-{number}"}

    assert all(await asyncio.gather(*(one(number) for number in range(50))))


async def test_requests_at_hand_are_answered_before_the_end(own_broker: Broker, tenant: Tenant, tmp_path: Path) -> None:
    """D8: told to stop with 50 requests in flight (each takes 0.3 s), it answers all of them."""
    async with replica(own_broker, tmp_path) as client:
        await holds(client.ready)
        path, key = "/v1/suppressions", tenant.live
        at_hand = [
            asyncio.create_task(client.call("POST", path, key=key, json={"recipient": f"d8-{n}@example.net"}))
            for n in range(50)
        ]
        await asyncio.sleep(ANSWER_AFTER / 2)
        await client.stop()
        assert [reply.status for reply in await asyncio.gather(*at_hand)] == [201] * 50
        assert not await client.alive()


async def test_a_body_that_trickles_is_cut(
    ingest: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """D76: a deadline for the whole body, not for the next byte of it."""
    monkeypatch.setattr(bodies, "RECEIVE_SECONDS", 0.3)
    monkeypatch.setattr(edge, "DRAIN_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ingest.url.rpartition(":")[2]))
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.live}\r\nContent-Length: 1000\r\n\r\n"
    )
    writer.write(head.encode())
    answer = asyncio.create_task(reader.read(4096))
    begun = time.monotonic()
    while not answer.done() and time.monotonic() - begun < 5:
        writer.write(b" ")
        await asyncio.wait({answer}, timeout=0.05)
    assert b"HTTP/1.1 400" in answer.result()
    assert time.monotonic() - begun < 3
    writer.close()
