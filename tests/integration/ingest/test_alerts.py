"""`/v1/alerts` on a real Kafka: rules at every replica, with how analytics says that they stand (R34)."""

from typing import Any

from chassis.log import Log, outgoing
from schemas.alerts import AlertState
from schemas.envelope import decode, seal
from schemas.events import AlertRuleChanged
from schemas.topics import TOPICS
from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

AT = "2026-01-01T00:00:00.000Z"
SPIKE = {
    "name": "security",
    "measure": "queued",
    "filters": {"tag": "security-alert"},
    "condition": {"times": 5, "baseline_seconds": 3600},
}


async def changes(broker: Broker, tenant: Tenant) -> list[tuple[str, str]]:
    topic, found = TOPICS["account-events"], list[tuple[str, str]]()
    for partition in range(topic.partitions):
        for record in await everything_in(broker.bootstrap_servers, topic.name, partition):
            envelope = decode(record.value, topic.types)
            if envelope.project_id == tenant.project_id and isinstance(envelope.data, AlertRuleChanged):
                found.append((envelope.data.change, envelope.data.name))
    return found


async def stands(log: Log, tenant: Tenant, rule_id: str, state: str) -> None:
    """As analytics says it."""
    data = AlertState.model_validate(
        {
            "rule_id": rule_id, "project_id": tenant.project_id, "state": state, "since": AT, "value": 240.0,
            "threshold": 50.0, "episode": 1, "evaluated_at": AT,
        }
    )  # fmt: skip
    record = seal(data, record_id="rec_1", source="analytics", subject=rule_id, time_ms=0, project_id=data.project_id)
    await log.append([outgoing(TOPICS["alert-states"], record, key=rule_id)], within=10)


async def test_a_rule_from_its_making_to_its_end(
    own_broker: Broker, log: Log, ingest: Client, other_ingest: Client
) -> None:
    tenant = await new_tenant(log)
    for client in (ingest, other_ingest):
        await known(client, tenant)
    made = await ingest.call("POST", "/v1/alerts", key=tenant.live, json=SPIKE)
    assert made.status == 201, made.raw
    rule = made.json
    assert (rule["state"], rule["value"], rule["minimum"], rule["condition"]) == (
        "unknown", None, 20, {"times": 5.0, "baseline_seconds": 3600}
    )  # fmt: skip
    path = f"/v1/alerts/{rule['id']}"
    assert (await other_ingest.call("GET", path, key=tenant.live)).json == rule

    await stands(log, tenant, rule["id"], "raised")

    async def shown_as(state: str) -> dict[str, Any] | None:
        (listed,) = (await other_ingest.call("GET", "/v1/alerts", key=tenant.live)).json["data"]
        return listed if listed["state"] == state else None

    async def raised() -> bool:
        return await shown_as("raised") is not None

    await holds(raised)
    assert await shown_as("raised") == rule | {"state": "raised", "since": AT, "value": 240.0, "evaluated_at": AT}
    off = await ingest.call("PATCH", path, key=tenant.live, json={"enabled": False, "name": "off"})
    assert (off.status, off.json["state"], off.json["condition"]) == (200, "unknown", rule["condition"])
    assert (await ingest.call("DELETE", path, key=tenant.live)).json["deleted"] is True
    assert (await other_ingest.call("GET", path, key=tenant.live)).status == 404
    assert (await ingest.call("POST", f"{path}/undo", key=tenant.live)).json["name"] == "off"
    assert (await ingest.call("POST", "/v1/alerts", key=tenant.keys["admin"], json=SPIKE)).status == 403
    assert await changes(own_broker, tenant) == [
        ("created", "security"), ("changed", "off"), ("deleted", "off"), ("undone", "off")
    ]  # fmt: skip
