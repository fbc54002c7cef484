"""The suppression list over HTTP: tags, the union of causes, search, and unsubscriptions as the same records (R11, R12)."""

from typing import Any

import pytest

from chassis.log import Log, outgoing
from schemas.envelope import decode, seal
from schemas.events import SuppressionAdded, SuppressionChange, SuppressionRemoved
from schemas.tables import Suppression, suppression_key
from schemas.topics import TOPICS
from services.ingest.adapters import suppressions as adapter
from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

LIST = "/v1/suppressions"


async def bounced(log: Log, ingest: Client, tenant: Tenant, recipient: str, event_id: str) -> None:
    """As the router lists an address."""
    entry = Suppression(
        id=f"sup_{event_id}",
        project_id=tenant.project_id,
        scope="*",
        recipient=recipient,
        reason="hard_bounce",
        origin="bounce",
        source_event_id=event_id,
        created_at="2026-01-01T00:00:00.000Z",
    )
    key = suppression_key(tenant.project_id, recipient, "bounce")
    envelope = seal(
        entry, record_id=f"rec_{event_id}", source="router", subject=entry.id, time_ms=0, project_id=tenant.project_id
    )
    await log.append([outgoing(TOPICS["suppressions"], envelope, key=key)], within=10)

    async def there() -> bool:
        return (await ingest.call("GET", f"{LIST}/{recipient}", key=tenant.live)).status == 200

    await holds(there)


async def test_an_address_is_the_union_of_its_causes(ingest: Client, log: Log, tenant: Tenant) -> None:
    address = "union@example.net"
    await bounced(log, ingest, tenant, address, "evt_bounce")
    for body in ({"reason": "complaint"}, {"tag": "news"}, {"reason": "unsubscribed", "tag": "news"}):
        asked = {"recipient": address, **body}
        assert (await ingest.call("POST", LIST, key=tenant.live, json=asked)).status == 201
    one = (await ingest.call("GET", f"{LIST}/{address}", key=tenant.live)).json
    causes = [(cause["reason"], cause["origin"], cause["tag"], cause["source_event_id"]) for cause in one["causes"]]
    assert causes == [
        ("unsubscribed", "unsubscribe", "news", None),
        ("manual", "api", "news", None),
        ("complaint", "api", None, None),
        ("hard_bounce", "bounce", None, "evt_bounce"),
    ]
    assert {name: one[name] for name in one["causes"][0]} == one["causes"][0]
    gone = await ingest.call("DELETE", f"{LIST}/{address}?tag=news&origin=api", key=tenant.live)
    assert gone.status == 200
    left = (await ingest.call("GET", f"{LIST}/{address}", key=tenant.live)).json["causes"]
    assert [cause["reason"] for cause in left] == ["unsubscribed", "complaint", "hard_bounce"]
    assert (await ingest.call("DELETE", f"{LIST}/{address}", key=tenant.live)).status == 200
    assert (await ingest.call("GET", f"{LIST}/{address}", key=tenant.live)).status == 404


async def test_account_events_say_the_scope_and_have_new_ids_each_time(
    own_broker: Broker, ingest: Client, tenant: Tenant
) -> None:
    asked = {"recipient": "scope@example.net", "tag": "news"}
    for _ in range(2):
        made = await ingest.call("POST", LIST, key=tenant.live, json=asked)
        assert (made.status, made.json["tag"]) == (201, "news")
        assert (await ingest.call("DELETE", f"{LIST}/scope@example.net", key=tenant.live)).status == 200
    topic = TOPICS["account-events"]
    told = [
        envelope
        for partition in range(topic.partitions)
        for record in await everything_in(own_broker.bootstrap_servers, topic.name, partition)
        if isinstance((envelope := decode(record.value, topic.types)).data, SuppressionChange)
        and envelope.data.recipient == "scope@example.net"
    ]
    assert [type(envelope.data) for envelope in told] == [SuppressionAdded, SuppressionRemoved] * 2
    assert {getattr(envelope.data, "scope", None) for envelope in told} == {"news"}
    assert len({envelope.id for envelope in told}) == 4


async def test_unsubscribes_are_the_records_of_one_reason(ingest: Client, log: Log) -> None:
    owner = await new_tenant(log)
    await known(ingest, owner)
    path = "/v1/unsubscribes"
    await ingest.call("POST", LIST, key=owner.live, json={"recipient": "banned@example.net"})
    both = {"recipient": "both@example.net"}
    await ingest.call("POST", LIST, key=owner.live, json=both)
    made = await ingest.call("POST", path, key=owner.live, json=both)
    assert (made.status, made.json["reason"], made.json["origin"]) == (201, "unsubscribed", "unsubscribe")
    refused = await ingest.call("POST", path, key=owner.live, json={**both, "reason": "manual"})
    assert refused.status == 422
    listed = (await ingest.call("GET", path, key=owner.live)).json["data"]
    assert listed == [made.json]
    assert (await ingest.call("GET", f"{path}/banned@example.net", key=owner.live)).status == 404
    assert (await ingest.call("DELETE", f"{path}/both@example.net", key=owner.live)).status == 200
    left = await ingest.call("GET", f"{LIST}/both@example.net", key=owner.live)
    assert [cause["reason"] for cause in left.json["causes"]] == ["manual"]


@pytest.mark.parametrize("most_seen", [10_000, 4])
async def test_a_search_goes_through_the_list_page_by_page(
    ingest: Client, log: Log, monkeypatch: pytest.MonkeyPatch, most_seen: int
) -> None:
    """However little of the list one request looks at, following the cursor finds all of it, once."""
    monkeypatch.setattr(adapter, "MOST_SEEN", most_seen)
    owner = await new_tenant(log)
    await known(ingest, owner)
    for number in range(9):
        name = "ada" if number % 3 == 0 else "bob"
        asked: dict[str, Any] = {"recipient": f"{name}{number}@example.net"}
        if number % 2:
            asked["tag"] = "news"
        await ingest.call("POST", LIST, key=owner.live, json=asked)

    async def found(query: str) -> list[str]:
        addresses: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            after = f"&after={cursor}" if cursor else ""
            page = (await ingest.call("GET", f"{LIST}?limit=2&{query}{after}", key=owner.live)).json
            assert page["has_more"] is (page["next_cursor"] is not None)
            addresses += [entry["recipient"] for entry in page["data"]]
            cursor = page["next_cursor"]
        return addresses

    assert await found("search=ADA") == ["ada6@example.net", "ada3@example.net", "ada0@example.net"]
    assert await found("search=ada&tag=news") == ["ada3@example.net"]
    assert await found("search=3@example") == ["ada3@example.net"]
    assert await found("origin=bounce") == []
    assert len(await found("reason=manual")) == 9


async def test_another_projects_list_is_another_list(ingest: Client, log: Log, tenant: Tenant) -> None:
    stranger = await new_tenant(log)
    await known(ingest, stranger)
    await ingest.call("POST", LIST, key=tenant.live, json={"recipient": "mine@example.net"})
    for method in ("GET", "DELETE"):
        theirs = await ingest.call(method, f"{LIST}/mine@example.net", key=stranger.live)
        nobodys = await ingest.call(method, f"{LIST}/nobody@example.net", key=stranger.live)
        assert (theirs.status, theirs.json["error"]) == (404, nobodys.json["error"])
    assert (await ingest.call("GET", f"{LIST}?search=mine", key=stranger.live)).json["data"] == []
