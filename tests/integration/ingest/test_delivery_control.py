"""`/v1/routes`, `/upstreams`, `/policies`, `/queues` and `/pools` on a real Kafka (R20, R21, R54; D78)."""

from pathlib import Path
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.log import Log, outgoing
from chassis.sealing import Seals
from schemas.envelope import Envelope, Payload, decode, seal
from schemas.events import PolicyChanged, QueueChange, RouteChanged, UpstreamChanged
from schemas.routing import PathHealth, QueueFlush, QueuePause, SenderAlive, Upstream
from schemas.tables import Queue, QueueState
from schemas.topics import TOPICS
from services.ingest.management import versions
from tests.integration.ingest.stage import SEALING_KEY, Client, Reply, Tenant, holds, known, new_tenant, replica
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

PASSWORD = "s3cret-word-of-this-test"
ENTITIES: dict[str, dict[str, Any]] = {
    "routes": {"name": "one", "paths": ["mx:main"], "match": {"tags": ["otp"]}},
    "upstreams": {"name": "one", "host": "smtp.example.net", "username": "shop", "password": PASSWORD},
    "policies": {"name": "one", "retry_schedule": ["5s", "1m"], "max_age": "10m"},
}
EVENTS = {"routes": RouteChanged, "upstreams": UpstreamChanged, "policies": PolicyChanged}


@pytest.fixture
async def owner(ingest: Client, other_ingest: Client, log: Log) -> Tenant:
    tenant = await new_tenant(log)
    await known(ingest, tenant)
    await known(other_ingest, tenant)
    return tenant


async def made(client: Client, key: str, kind: str, **changes: Any) -> dict[str, Any]:
    reply = await client.call("POST", f"/v1/{kind}", key=key, json=ENTITIES[kind] | changes)
    assert reply.status == 201, reply.raw
    found: dict[str, Any] = reply.json
    return found


def said(shown: dict[str, Any]) -> tuple[str, int]:
    return shown["name"], shown["version"]


async def records(broker: Broker, entry: str, project_id: str | None = None) -> list[Envelope[Payload]]:
    topic = TOPICS[entry]
    found = [
        decode(record.value, topic.types)
        for partition in range(topic.partitions)
        for record in await everything_in(broker.bootstrap_servers, topic.name, partition)
        if record.value is not None
    ]
    return [envelope for envelope in found if project_id is None or envelope.project_id == project_id]


async def put(log: Log, entry: str, key: str, record: Payload) -> None:
    """As a router or a sender would."""
    envelope = seal(record, record_id=f"rec_{key}", source="test", subject=key, time_ms=0, project_id="")
    await log.append([outgoing(TOPICS[entry], envelope, key=key)], within=10)


# --- routes, upstreams, policies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENTITIES)
async def test_made_changed_undone_deleted_and_back(
    kind: str, own_broker: Broker, ingest: Client, other_ingest: Client, owner: Tenant
) -> None:
    """R20: each step is a version, known at every replica when it is answered, and an event without secrets."""
    first = await made(ingest, owner.live, kind)
    path = f"/v1/{kind}/{first['id']}"
    assert (said(first), first["project_id"], first["undoable"]) == (("one", 1), owner.project_id, False)
    assert first["updated_by"] == owner.key_ids["live"]
    assert (await other_ingest.call("GET", path, key=owner.live)).json == first
    nothing = await ingest.call("POST", f"{path}/undo", key=owner.live)
    assert (nothing.status, nothing.json["error"]["code"]) == (409, "conflict")

    second = await ingest.call("PATCH", path, key=owner.live, json={"name": "two"})
    assert (second.status, said(second.json)) == (200, ("two", 2))
    rest = {name for name in first if name not in {"name", "version", "updated_at", "undoable"}}
    assert {name: second.json[name] for name in rest} == {name: first[name] for name in rest}

    third = await other_ingest.call("POST", f"{path}/undo", key=owner.live)
    assert said(third.json) == ("one", 3)
    again = await ingest.call("POST", f"{path}/undo", key=owner.live)
    assert said(again.json) == ("two", 4), "a second undo does it again"

    gone = await ingest.call("DELETE", path, key=owner.live)
    assert (gone.status, gone.json["deleted"]) == (200, True)
    for each in (ingest, other_ingest):
        assert (await each.call("GET", path, key=owner.live)).status == 404
        assert (await each.call("GET", f"/v1/{kind}", key=owner.live)).json["data"] == []
    assert (await ingest.call("DELETE", path, key=owner.live)).status == 404
    assert (await ingest.call("PATCH", path, key=owner.live, json={})).status == 404
    back = await other_ingest.call("POST", f"{path}/undo", key=owner.live)
    assert said(back.json) == ("two", 6)
    assert (await ingest.call("GET", path, key=owner.live)).json == back.json
    assert (await ingest.call("GET", f"/v1/{kind}", key=owner.live)).json["data"] == [back.json]

    told = [event.data for event in await records(own_broker, "account-events", owner.project_id)]
    assert all(isinstance(event, EVENTS[kind]) for event in told)
    steps = [(e.change, e.version, e.by) for e in told if isinstance(e, EVENTS[kind])]
    by = owner.key_ids["live"]
    assert steps == [
        ("created", 1, by),
        ("changed", 2, by),
        ("undone", 3, by),
        ("undone", 4, by),
        ("deleted", 5, by),
        ("undone", 6, by),
    ]
    assert [(e.before, e.after) for e in told if isinstance(e, EVENTS[kind])][:2] == [
        (None, first),
        (first, second.json),
    ]


@pytest.mark.parametrize("kind", ENTITIES)
async def test_what_is_the_installations_is_seen_by_all_and_changed_by_an_admin_key(
    kind: str, ingest: Client, owner: Tenant, log: Log
) -> None:
    other = await new_tenant(log)
    await known(ingest, other)
    everybodys = await made(ingest, owner.keys["admin"], kind, name="of all")
    own = await made(ingest, owner.live, kind, name="mine")
    path = f"/v1/{kind}/{everybodys['id']}"
    assert everybodys["project_id"] is None
    for tenant in (owner, other):
        assert (await ingest.call("GET", path, key=tenant.live)).json == everybodys
        for method, end, body in (("PATCH", "", {}), ("DELETE", "", None), ("POST", "/undo", None)):
            reply = await ingest.call(method, path + end, key=tenant.live, json=body)
            assert (reply.status, reply.json["error"]["code"]) == (403, "insufficient_scope")
    listed = (await ingest.call("GET", f"/v1/{kind}?limit=2", key=owner.live)).json["data"]
    assert [row["name"] for row in listed] == ["mine", "of all"]
    assert own["id"] not in [row["id"] for row in await pages(ingest, f"/v1/{kind}", other.live)]
    assert own["id"] not in [row["id"] for row in await pages(ingest, f"/v1/{kind}", owner.keys["admin"])]
    assert (await ingest.call("GET", f"/v1/{kind}/{own['id']}", key=other.live)).status == 404
    assert (await ingest.call("POST", f"/v1/{kind}/{own['id']}/undo", key=other.live)).status == 404
    assert (await ingest.call("DELETE", path, key=other.keys["admin"])).status == 200
    assert (await ingest.call("GET", path, key=owner.live)).status == 404


async def pages(client: Client, path: str, key: str) -> list[dict[str, Any]]:
    """Every entry, page by page."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await client.call("GET", f"{path}?limit=2{after}", key=key)).json
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['next_cursor']}"


async def test_a_list_page_by_page(ingest: Client, owner: Tenant) -> None:
    made_ids = [(await made(ingest, owner.live, "policies", name=f"n{number}"))["id"] for number in range(5)]
    listed = [row["id"] for row in await pages(ingest, "/v1/policies", owner.live)]
    assert [found for found in listed if found in made_ids] == made_ids[::-1]
    assert len(listed) == len(set(listed))


async def test_only_the_last_deletions_can_be_undone(
    ingest: Client, owner: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is deleted stays for its undo, but not for ever: else the table would only grow."""
    monkeypatch.setattr(versions, "MAX_DELETED", 1)
    ids = [(await made(ingest, owner.live, "policies"))["id"] for _ in range(2)]
    for policy_id in ids:
        assert (await ingest.call("DELETE", f"/v1/policies/{policy_id}", key=owner.live)).status == 200
    undone = [(await ingest.call("POST", f"/v1/policies/{found}/undo", key=owner.live)).status for found in ids]
    assert undone == [404, 200]


async def test_there_is_an_end_to_them(ingest: Client, owner: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MAX_ENTITIES", 1)
    await made(ingest, owner.live, "policies")
    reply = await ingest.call("POST", "/v1/policies", key=owner.live, json=ENTITIES["policies"])
    assert (reply.status, reply.json["error"]["code"]) == (409, "conflict")


# --- upstreams --------------------------------------------------------------------------------------------------------


async def test_a_password_is_sealed_and_leaves_nothing_behind(
    own_broker: Broker, ingest: Client, owner: Tenant, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in an answer, nor in a log line, nor in an event; and in the table only under the sealing key."""
    upstream = await made(ingest, owner.live, "upstreams")
    path = f"/v1/upstreams/{upstream['id']}"
    assert upstream["password_set"] is True
    replies = [
        await ingest.call("GET", path, key=owner.live),
        await ingest.call("GET", "/v1/upstreams", key=owner.live),
        await ingest.call("PATCH", path, key=owner.live, json={"password": PASSWORD + "2"}),
        await ingest.call("PATCH", path, key=owner.live, json={"host": "10.0.0", "password": PASSWORD}),
        await ingest.call("POST", f"{path}/undo", key=owner.live),
        await ingest.call("DELETE", path, key=owner.live),
    ]
    rows = [row.data for row in await records(own_broker, "upstreams", owner.project_id)]
    sealed = [row.sealed_password for row in rows if isinstance(row, Upstream) and row.sealed_password is not None]
    opened = [Seals([SEALING_KEY]).open(text) for text in sealed]
    assert opened == [PASSWORD, PASSWORD + "2", PASSWORD, PASSWORD]
    events = [event.model_dump_json() for event in await records(own_broker, "account-events", owner.project_id)]
    captured = capfd.readouterr()
    for text in [*(reply.raw.decode() for reply in replies), *events, captured.out, captured.err]:
        assert PASSWORD not in text
        assert not any(secret in text for secret in sealed)
    assert not any(PASSWORD in row.model_dump_json() for row in rows)


async def test_an_upstream_by_a_providers_name(ingest: Client, owner: Tenant) -> None:
    """R54."""
    asked = {"preset": "sendgrid", "password": "SG.x"}
    reply = await ingest.call("POST", "/v1/upstreams", key=owner.live, json=asked)
    assert (reply.status, reply.json["host"], reply.json["username"]) == (201, "smtp.sendgrid.net", "apikey")


async def test_a_relay_next_door_is_the_installations(own_broker: Broker, owner: Tenant, tmp_path: Path) -> None:
    """No project finds a way into the network that the senders stand in."""
    async with replica(own_broker, tmp_path, allow_private_upstreams=False) as client:
        await holds(client.ready)
        relay = {"name": "relay", "host": "10.0.0.5"}
        refused = await client.call("POST", "/v1/upstreams", key=owner.live, json=relay)
        assert [(fault["field"], fault["code"]) for fault in refused.json["errors"]] == [("host", "invalid_value")]
        own = await made(client, owner.live, "upstreams")
        moved = await client.call(
            "PATCH", f"/v1/upstreams/{own['id']}", key=owner.live, json={"host": "localhost", "password": "x"}
        )
        assert moved.status == 422
        everybodys = await client.call("POST", "/v1/upstreams", key=owner.keys["admin"], json=relay)
        assert everybodys.status == 201


async def test_an_upstream_that_routes_lead_to_stays(ingest: Client, owner: Tenant) -> None:
    """Mail that waits would have nowhere to go."""
    upstream = (await made(ingest, owner.live, "upstreams"))["id"]
    route = (await made(ingest, owner.live, "routes", paths=["mx:main"], fallback=[upstream]))["id"]
    refused = await ingest.call("DELETE", f"/v1/upstreams/{upstream}", key=owner.live)
    assert refused.status == 409
    assert route in refused.json["error"]["message"]
    assert (await ingest.call("DELETE", f"/v1/routes/{route}", key=owner.live)).status == 200
    assert (await ingest.call("DELETE", f"/v1/upstreams/{upstream}", key=owner.live)).status == 200
    back = await ingest.call("POST", f"/v1/routes/{route}/undo", key=owner.live)
    assert (back.status, back.json["error"]["code"]) == (409, "conflict"), "its upstream is gone"
    assert (await ingest.call("POST", f"/v1/upstreams/{upstream}/undo", key=owner.live)).status == 200
    assert (await ingest.call("POST", f"/v1/routes/{route}/undo", key=owner.live)).status == 200


async def test_a_route_knows_its_projects_upstreams_and_the_installations(
    ingest: Client, owner: Tenant, log: Log
) -> None:
    other = await new_tenant(log)
    await known(ingest, other)
    theirs = (await made(ingest, other.live, "upstreams"))["id"]
    shared = (await made(ingest, owner.keys["admin"], "upstreams"))["id"]
    refused = await ingest.call("POST", "/v1/routes", key=owner.live, json={"name": "x", "paths": [theirs, shared]})
    assert [(fault["field"], fault["code"]) for fault in refused.json["errors"]] == [("paths[0]", "unknown_path")]
    everybodys = {"name": "x", "paths": [theirs]}
    assert (await ingest.call("POST", "/v1/routes", key=owner.keys["admin"], json=everybodys)).status == 422


# --- queues -----------------------------------------------------------------------------------------------------------


async def ordered(client: Client, key: str, order: str, body: Any = None, query: str = "") -> Reply:
    return await client.call("POST", f"/v1/queues/{order}{query}", key=key, json=body)


async def controls(broker: Broker, key: str) -> list[Payload | None]:
    topic = TOPICS["queue-controls"]
    found = [record for record in await everything_in(broker.bootstrap_servers, topic.name) if record.key == key]
    return [None if record.value is None else decode(record.value, topic.types).data for record in found]


async def test_a_queue_is_paused_resumed_and_flushed(
    own_broker: Broker, ingest: Client, other_ingest: Client, owner: Tenant
) -> None:
    """R21: by records that routers read, under the keys they know; each an event of the account."""
    name, by = owner.domain, owner.key_ids["live"]
    paused = await ordered(ingest, owner.live, f"{name}/pause", {"reason": "asked by their postmaster"})
    assert (paused.status, paused.json["paused"], paused.json["waiting"]) == (200, True, 0)
    assert paused.json["pauses"][0]["reason"] == "asked by their postmaster"
    assert (await other_ingest.call("GET", f"/v1/queues/{name}", key=owner.live)).json == paused.json
    listed = (await ingest.call("GET", f"/v1/queues?destination={name}", key=owner.live)).json
    assert (listed["data"], listed["has_more"]) == ([paused.json], False)

    resumed = await ordered(other_ingest, owner.live, f"{name}/resume")
    assert (resumed.status, resumed.json["paused"]) == (200, False)
    assert (await ordered(ingest, owner.live, f"{name}/resume")).status == 200, "a repeat changes nothing"
    flushed = await ordered(ingest, owner.live, f"{name}/flush")
    assert flushed.status == 200

    first, second = await controls(own_broker, f"pause:{owner.project_id}:destination:{name}")
    assert isinstance(first, QueuePause)
    assert (first.project_id, first.name, first.by, second) == (owner.project_id, name, by, None)
    (flush,) = await controls(own_broker, f"flush:{owner.project_id}:destination:{name}")
    assert isinstance(flush, QueueFlush)
    events = await records(own_broker, "account-events", owner.project_id)
    told = [(e.type, e.subject, e.data.by) for e in events if isinstance(e.data, QueueChange)]
    assert told == [("queue.paused", name, by), ("queue.resumed", name, by), ("queue.flushed", name, by)]


async def test_a_project_stops_its_own_mail_and_an_admin_key_everybodys(
    own_broker: Broker, ingest: Client, owner: Tenant, log: Log
) -> None:
    other = await new_tenant(log)
    await known(ingest, other)
    name, admin = owner.domain, owner.keys["admin"]
    assert (await ordered(ingest, owner.live, f"{name}/pause")).status == 200
    assert (await ingest.call("GET", f"/v1/queues/{name}", key=other.live)).json["paused"] is False
    assert (await ordered(ingest, other.live, f"{name}/resume")).json["paused"] is False
    assert (await ingest.call("GET", f"/v1/queues/{name}", key=owner.live)).json["paused"] is True

    assert (await ordered(ingest, admin, f"{name}/pause")).status == 200
    assert await controls(own_broker, f"pause::destination:{name}") != []
    assert (await ingest.call("GET", f"/v1/queues/{name}", key=other.live)).json["paused"] is True
    refused = await ordered(ingest, other.live, f"{name}/resume")
    assert (refused.status, refused.json["error"]["code"]) == (409, "conflict")
    assert len((await ordered(ingest, owner.live, f"{name}/resume")).json["pauses"]) == 1, "the installation's stays"
    assert (await ordered(ingest, admin, f"{name}/resume")).json["paused"] is False


@pytest.mark.parametrize(
    ("kind", "name"), [("provider_group", "google"), ("path", "mx:main"), ("path", "upstream"), ("path", "ups_0")]
)
async def test_providers_and_paths_are_queues_too(
    kind: str, name: str, own_broker: Broker, ingest: Client, owner: Tenant
) -> None:
    """`kind` stands in the query or in the body."""
    assert (await ordered(ingest, owner.live, f"{name}/pause", {"kind": kind})).json["paused"] is True
    (pause,) = await controls(own_broker, f"pause:{owner.project_id}:{kind}:{name}")
    assert isinstance(pause, QueuePause)
    listed = (await ingest.call("GET", f"/v1/queues?kind={kind}", key=owner.live)).json["data"]
    assert [(row["kind"], row["paused"]) for row in listed if row["name"] == name] == [(kind, True)]
    assert (await ordered(ingest, owner.live, f"{name}/resume", query=f"?kind={kind}")).json["paused"] is False


async def test_what_routers_say_of_queues_is_summed_and_shown(ingest: Client, owner: Tenant, log: Log) -> None:
    """R21: depth, oldest, reason and next attempt, over all partitions."""
    name = f"q{owner.domain}"
    for number, lane in enumerate(("express", "standard")):
        queue = Queue(
            destination=name,
            waiting=2 + number,
            in_flight=1,
            oldest_ms=1_790_000_000_000 - number,
            next_due_ms=1_790_000_060_000 + number,
            provider_group="google",
            reason="greylisted" if number else "retry_ladder",
        )
        state = QueueState(lane=lane, partition=3, taken_at="2026-09-21T14:13:20.123Z", queues=[queue])
        await put(log, "queue-state", f"{lane}:3", state)

    async def seen() -> bool:
        return bool((await ingest.call("GET", f"/v1/queues/{name}", key=owner.live)).json["waiting"] == 5)

    await holds(seen)
    shown = (await ingest.call("GET", f"/v1/queues/{name}", key=owner.live)).json
    assert (shown["waiting"], shown["in_flight"], shown["provider_group"]) == (5, 2, "google")
    assert (shown["reason"], shown["oldest_at"]) == ("greylisted", "2026-09-21T14:13:19.999Z")
    assert shown["next_attempt_at"] == "2026-09-21T14:14:20.000Z"
    one_lane = (await ingest.call("GET", "/v1/queues?lane=express&provider_group=google", key=owner.live)).json
    assert [(row["name"], row["waiting"]) for row in one_lane["data"]] == [(name, 2)]
    group = (await ingest.call("GET", "/v1/queues/google?kind=provider_group", key=owner.live)).json
    assert group["waiting"] == 5


# --- pools ------------------------------------------------------------------------------------------------------------


async def test_a_pool_shows_its_senders_and_their_reputation(ingest: Client, owner: Tenant, log: Log) -> None:
    """R20: per source address and provider, of what senders publish."""
    now_ms = SystemClock().now_ms()
    instance, group = f"s-{owner.project_id}", f"g{owner.project_id[4:]}"
    health = PathHealth(
        pool="main",
        instance=instance,
        path="mx:main",
        source_address="192.0.2.10",
        provider_group=group,
        taken_at_ms=now_ms,
        window_ms=300_000,
        delivered=180,
        deferred=20,
        evidence="421 too fast",
    )
    await put(log, "path-health", f"main:{instance}:mx:main:192.0.2.10:{group}", health)
    alive = SenderAlive(pool="main", instance=instance, at_ms=now_ms, paths=["mx:main"])
    await put(log, "path-health", f"main:{instance}", alive)

    async def pool(key: str) -> tuple[list[str], list[dict[str, Any]]]:
        found = (await ingest.call("GET", "/v1/pools/main", key=key)).json
        return (
            [sender["instance"] for sender in found["senders"] if sender["instance"] == instance],
            [row for row in found["reputation"] if row["provider_group"] == group],
        )

    async def seen() -> bool:
        senders, rows = await pool(owner.live)
        return bool(senders and rows)

    await holds(seen)
    _, (row,) = await pool(owner.live)
    assert (row["sample"], row["delivered_ratio"], row["deferred_ratio"], row["evidence"]) == (200, 0.9, 0.1, None)
    _, (row,) = await pool(owner.keys["admin"])
    assert row["evidence"] == "421 too fast"
    listed = (await ingest.call("GET", "/v1/pools", key=owner.live)).json
    assert [found["id"] for found in listed["data"]] == ["main"]
