"""Keys with bounds, rotation, last use, and projects with their plans, over HTTP at two replicas (R13, R14; D79, D80)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.log import Log
from schemas.envelope import to_ms, to_timestamp
from schemas.topics import TOPICS
from services.ingest.adapters import key_usage
from tests.integration.ingest.stage import Client, Reply, Tenant, holds, known, new_tenant, replica
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

ADDRESS = "127.0.0.1/32"


async def make(client: Client, key: str, **asked: Any) -> Reply:
    return await client.call("POST", "/v1/api-keys", key=key, json={"name": "k", "environment": "live", **asked})


async def test_a_key_of_some_sender_domains(ingest: Client, tenant: Tenant) -> None:
    """R13: of the project's domains, those that the key names; the project's default is judged, too."""
    own = (await make(ingest, tenant.live, from_domains=[tenant.domain.upper()])).json
    other = (await make(ingest, tenant.live, from_domains=["elsewhere.example"])).json
    assert own["from_domains"] == [tenant.domain]
    mails = [tenant.mail(), tenant.mail(**{"from": f"a@{tenant.domain}"})]
    for mail in mails:
        assert (await ingest.call("POST", "/v1/messages", key=own["key"], json=mail)).status == 202
        reply = await ingest.call("POST", "/v1/messages", key=other["key"], json=mail)
        assert (reply.status, reply.json["error"]["code"]) == (422, "sender_not_allowed")
        assert [fault["field"] for fault in reply.json["errors"]] == ["from"]


async def test_a_key_of_some_networks(ingest: Client, tenant: Tenant) -> None:
    here = (await make(ingest, tenant.live, networks=["10.0.0.0/8", "127.0.0.1"])).json
    there = (await make(ingest, tenant.live, networks=["10.0.0.0/8"])).json
    assert here["networks"] == ["10.0.0.0/8", ADDRESS]
    assert (await ingest.call("GET", "/v1/webhooks", key=here["key"])).status == 200
    reply = await ingest.call("GET", "/v1/webhooks", key=there["key"], headers={"X-Forwarded-For": "10.1.1.1"})
    assert (reply.status, reply.json["error"]["code"]) == (403, "address_not_allowed")


async def test_a_key_that_expires(ingest: Client, other_ingest: Client, tenant: Tenant) -> None:
    expires_at = to_timestamp(SystemClock().now_ms() + 2500)
    made = (await make(ingest, tenant.live, expires_at=expires_at)).json
    assert made["expires_at"] == expires_at
    assert (await other_ingest.call("GET", "/v1/webhooks", key=made["key"])).status == 200
    for client in (ingest, other_ingest):

        async def refused(client: Client = client) -> bool:
            return (await client.call("GET", "/v1/webhooks", key=made["key"])).status == 401

        await holds(refused, within=10)
    assert SystemClock().now_ms() >= to_ms(expires_at)


async def test_a_rotation_with_an_overlap(
    own_broker: Broker, ingest: Client, other_ingest: Client, tenant: Tenant
) -> None:
    """Both keys work at every replica when it is answered, with the same rights; only hashes are in the log (D80)."""
    rights = {"scopes": ["webhooks.read"], "from_domains": [tenant.domain], "networks": [ADDRESS]}
    old = (await make(ingest, tenant.live, **rights)).json
    before = SystemClock().now_ms()
    path = f"/v1/api-keys/{old['id']}"
    reply = await ingest.call("POST", f"{path}/rotate", key=tenant.live, json={"overlap": "1h"})
    assert reply.status == 201
    new = reply.json
    assert new["rotated"]["id"] == old["id"] != new["id"]
    assert {name: new[name] for name in rights} == rights
    assert (new["name"], new["environment"], new["expires_at"]) == ("k", "live", None)
    shown = (await other_ingest.call("GET", path, key=tenant.live)).json
    assert shown["expires_at"] == new["rotated"]["expires_at"]
    assert 0 <= to_ms(shown["expires_at"]) - before - timedelta(hours=1).total_seconds() * 1000 < 5000
    for client in (ingest, other_ingest):
        for key in (old["key"], new["key"]):
            assert (await client.call("GET", "/v1/webhooks", key=key)).status == 200
            assert (await client.call("GET", "/v1/events", key=key)).status == 403
    records = await everything_in(own_broker.bootstrap_servers, TOPICS["api-keys"].name)
    values = b"".join(record.value or b"" for record in records)
    assert old["key"].encode() not in values
    assert new["key"].encode() not in values


async def test_a_rotation_at_once(ingest: Client, other_ingest: Client, tenant: Tenant) -> None:
    """The old key is refused everywhere when it is answered; what does not work can not be rotated."""
    old = (await make(ingest, tenant.live)).json
    path = f"/v1/api-keys/{old['id']}/rotate"
    new = (await ingest.call("POST", path, key=tenant.live, json={"overlap": "0"})).json
    for client in (ingest, other_ingest):
        assert (await client.call("GET", "/v1/webhooks", key=old["key"])).status == 401
        assert (await client.call("GET", "/v1/webhooks", key=new["key"])).status == 200
    again = await ingest.call("POST", path, key=tenant.live)
    assert (again.status, again.json["errors"][0]["code"]) == (422, "not_active")


async def test_rotation_is_no_way_to_more_rights(ingest: Client, tenant: Tenant) -> None:
    """A key that may manage keys gets no key that may do more than itself; nor the power over such a one."""
    keeper = (await make(ingest, tenant.live, scopes=["api_keys.write", "api_keys.read"])).json
    tester = (await make(ingest, tenant.live, environment="test")).json
    cases = [
        (keeper, "live", "rotate"),
        (keeper, "admin", "rotate"),
        (keeper, "admin", "DELETE"),
        (tester, "live", "DELETE"),
    ]
    for holder, name, action in cases:
        path = f"/v1/api-keys/{tenant.key_ids[name]}"  # type: ignore[index]  # names of environments
        method, path = ("DELETE", path) if action == "DELETE" else ("POST", f"{path}/rotate")
        reply = await ingest.call(method, path, key=holder["key"])
        assert (reply.status, reply.json["error"]["code"]) == (403, "insufficient_scope"), (name, action)
    for name in ("live", "admin"):
        assert (await ingest.call("GET", "/v1/api-keys", key=tenant.keys[name])).status == 200  # type: ignore[index]


async def test_when_a_key_was_last_used(
    own_broker: Broker, ingest: Client, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the minute, at every replica; a minute's requests are one record, and refused ones none."""
    made = (await make(ingest, tenant.live)).json
    idle = (await make(ingest, tenant.live, networks=["10.0.0.0/8"])).json
    assert made["last_used_at"] is None
    monkeypatch.setattr(key_usage, "FLUSH_EVERY", 0.05)
    async with replica(own_broker, tmp_path) as client:
        await holds(client.ready)
        for _ in range(100):
            assert (await client.call("GET", "/v1/webhooks", key=made["key"])).status == 200
        assert (await client.call("GET", "/v1/webhooks", key=idle["key"])).status == 403

    async def seen() -> bool:
        shown = await ingest.call("GET", f"/v1/api-keys/{made['id']}", key=tenant.live)
        return shown.json["last_used_at"] is not None

    await holds(seen)
    shown = (await ingest.call("GET", f"/v1/api-keys/{made['id']}", key=tenant.live)).json
    assert shown["last_used_at"].endswith(":00.000Z")
    assert 0 <= SystemClock().now_ms() - to_ms(shown["last_used_at"]) < 180_000
    assert (await ingest.call("GET", f"/v1/api-keys/{idle['id']}", key=tenant.live)).json["last_used_at"] is None
    records = await everything_in(own_broker.bootstrap_servers, TOPICS["api-key-usage"].name)
    assert 1 <= len([record for record in records if record.key == made["id"]]) <= 2  # 2: over the end of a minute


async def test_a_project_and_its_first_key(ingest: Client, other_ingest: Client, tenant: Tenant) -> None:
    """An admin key makes a project and its keys; they have the project's plan, and change with it."""
    admin = tenant.keys["admin"]
    asked = {
        "name": "New shop",
        "plan": "enterprise",
        "requests_per_minute": 2000,
        "unsubscribe_tags": ["news"],
        "retry_schedule": ["30s", "5m"],
    }
    made = await ingest.call("POST", "/v1/projects", key=admin, json=asked)
    assert (made.status, made.json) == (
        201,
        {"id": made.json["id"], **asked, "from": None, "created_at": made.json["created_at"]},
    )
    path = f"/v1/projects/{made.json['id']}"
    key = (await make(other_ingest, admin, project_id=made.json["id"])).json
    assert (key["project_id"], key["scopes"]) == (made.json["id"], ["*"])

    async def limit(client: Client) -> str:
        reply = await client.call("GET", "/v1/webhooks", key=key["key"])
        assert reply.status == 200
        return reply.headers["X-RateLimit-Limit"]

    assert [await limit(ingest), await limit(other_ingest)] == ["2000", "2000"]
    changed = await other_ingest.call("PATCH", path, key=admin, json={"plan": "standard", "from": "Shop <a@b.example>"})
    assert (changed.status, changed.json["plan"], changed.json["requests_per_minute"]) == (200, "standard", 1000)
    assert (changed.json["name"], changed.json["from"]) == ("New shop", "Shop <a@b.example>")
    assert [await limit(ingest), await limit(other_ingest)] == ["1000", "1000"]
    assert (await ingest.call("GET", path, key=admin)).json == changed.json
    listed = (await ingest.call("GET", "/v1/projects?limit=1", key=admin)).json
    assert (listed["data"], listed["has_more"]) == ([changed.json], True)
    keys = (await ingest.call("GET", f"/v1/api-keys?project_id={made.json['id']}", key=admin)).json
    assert [found["id"] for found in keys["data"]] == [key["id"]]
    assert (await ingest.call("DELETE", f"/v1/api-keys/{key['id']}", key=admin)).status == 200
    assert (await other_ingest.call("GET", "/v1/webhooks", key=key["key"])).status == 401


async def test_projects_that_are_not_there(ingest: Client, log: Log, tenant: Tenant) -> None:
    """D78: another's project and no project are one, for whoever is not an admin; and for an admin no key hangs in the air."""
    other = await new_tenant(log)
    await known(ingest, other)
    for key, project_id in [(tenant.live, other.project_id), (tenant.live, "prj_0"), (tenant.keys["admin"], "prj_0")]:
        made = await make(ingest, key, project_id=project_id)
        listed = await ingest.call("GET", f"/v1/api-keys?project_id={project_id}", key=key)
        for reply in (made, listed):
            assert (reply.status, [fault["code"] for fault in reply.json["errors"]]) == (422, ["unknown_project"])
    assert (await ingest.call("PATCH", "/v1/projects/prj_0", key=tenant.keys["admin"], json={})).status == 404
    reply = await ingest.call(
        "POST", "/v1/projects", key=tenant.keys["admin"], json={"retry_schedule": ["30s", "49h"], "name": "x"}
    )
    assert (reply.status, [fault["field"] for fault in reply.json["errors"]]) == (422, ["retry_schedule[1]"])
