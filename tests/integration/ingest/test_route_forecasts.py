"""`GET /v1/routes/explain` on a real Kafka: by the tables, by what senders told, for whoever asks; nothing is sent (R20)."""

from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.log import Log, outgoing
from schemas.envelope import Payload, seal
from schemas.routing import Destination, PathHealth, SenderAlive
from schemas.topics import TOPICS
from tests.integration.ingest.stage import Client, Tenant, known, new_tenant
from tests.kit.waiting import eventually

PATH = "/v1/routes/explain"


@pytest.fixture
async def owner(ingest: Client, log: Log) -> Tenant:
    tenant = await new_tenant(log)
    await known(ingest, tenant)
    return tenant


async def put(log: Log, entry: str, key: str, record: Payload) -> None:
    """As a sender would."""
    envelope = seal(record, record_id=f"rec_{key}", source="test", subject=key, time_ms=0, project_id="")
    await log.append([outgoing(TOPICS[entry], envelope, key=key)], within=10)


async def asked(ingest: Client, key: str, **query: str) -> dict[str, Any]:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    reply = await ingest.call("GET", f"{PATH}?{words}", key=key)
    assert reply.status == 200, reply.raw
    found: dict[str, Any] = reply.json
    return found


async def test_which_way_such_a_mail_would_go(ingest: Client, log: Log, owner: Tenant) -> None:
    now_ms = SystemClock().now_ms()
    await put(
        log,
        "destinations",
        "shop.example",
        Destination(destination="shop.example", provider_group="google", mx_hosts=[], resolved_at_ms=0),
    )
    await put(
        log,
        "path-health",
        "main:1",
        SenderAlive(pool="main", instance="1", at_ms=now_ms + 60_000, paths=["mx:main", "upstream"]),
    )
    unwell = PathHealth(
        pool="main",
        instance="1",
        path="upstream",
        source_address=None,
        provider_group="google",
        taken_at_ms=now_ms,
        window_ms=300_000,
        deferred=40,
        failed=40,
    )
    await put(log, "path-health", "main:1:upstream", unwell)
    for name, match in (("others", {"tags": ["receipt"]}), ("google", {"provider_groups": ["google"]}), ("rest", {})):
        body = {
            "name": name,
            "match": match,
            "paths": [{"path": "mx:main", "weight": 3}, "upstream"],
            "tls": "required",
        }
        assert (await ingest.call("POST", "/v1/routes", key=owner.live, json=body)).status == 201
    policy = {"name": "soon", "tags": ["otp"], "retry_schedule": ["5s"], "max_age": "10m"}
    made = (await ingest.call("POST", "/v1/policies", key=owner.live, json=policy)).json

    async def told() -> bool:
        found = await asked(ingest, owner.live, recipient="ada@shop.example", tag="otp")
        return found["provider_group"] == "google" and not found["paths"][1]["healthy"]

    await eventually(told)
    found = await asked(ingest, owner.live, recipient="ada@shop.example", tag="otp", tier="critical")
    assert (found["rule"]["name"], found["rule"]["version"], found["chosen_first"]) == ("google", 1, "mx:main")
    assert [(one["name"], one["matched"], one["because"]) for one in found["considered"]] == [
        ("others", False, "`tags` does not fit."),
        ("google", True, "All that it asks for is met."),
        ("rest", False, "An earlier rule fits."),
    ]
    direct, smarthost = found["paths"]
    assert (direct["weight"], direct["healthy"], smarthost["healthy"]) == (3, True, False)
    assert direct["share"] > 0.9, "the other gets one mail in twenty of its part"
    assert found["policy"]["retry_schedule"] == ["5s"]
    assert found["policy"]["tls"] == "required"
    assert {(use["term"], use["policy_id"]) for use in found["policy"]["decided_by"]} == {
        ("retry_schedule", made["id"]),
        ("max_age", made["id"]),
    }
    assert (await asked(ingest, owner.keys["test"], recipient="ada@shop.example"))["chosen_first"] == "sandbox"
    elsewhere = await asked(ingest, owner.live, recipient="ada@elsewhere.example")
    assert (elsewhere["rule"]["name"], elsewhere["provider_group"]) == ("rest", "elsewhere.example")

    body = {"kind": "provider_group"}
    assert (await ingest.call("POST", "/v1/queues/google/pause", key=owner.live, json=body)).status == 200
    assert (await asked(ingest, owner.live, recipient="ada@shop.example"))["waits"]["reason"] == "destination_paused"


async def test_all_that_is_wrong_with_a_question_is_said_at_once(ingest: Client, owner: Tenant) -> None:
    reply = await ingest.call("GET", f"{PATH}?from=nobody&tag=a%20b&tier=fast&colour=red", key=owner.live)
    assert reply.status == 422
    assert {error["field"] for error in reply.json["errors"]} == {"recipient", "from", "tag", "tier", "colour"}
