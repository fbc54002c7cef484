"""One-click unsubscribe over HTTP: from the link in a mail to the list (R12)."""

from collections.abc import Sequence

import pytest

from chassis.ids import parse_message_id
from chassis.log import Log, outgoing
from schemas.envelope import decode, seal
from schemas.events import RecipientUnsubscribed, SuppressionAdded
from schemas.inputs import MESSAGE_INPUTS, Feedback
from schemas.tables import Project
from schemas.topics import TOPICS, message_inputs
from services.ingest import admission
from tests.integration.ingest.stage import CREATED_AT, Client, Tenant, holds, known, new_tenant, submits_of
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


async def tenant_with(log: Log, ingest: Client, unsubscribe_tags: Sequence[str]) -> Tenant:
    tenant = await new_tenant(log)
    row = Project(
        id=tenant.project_id,
        name="Test",
        default_from=f"hello@{tenant.domain}",
        created_at=CREATED_AT,
        unsubscribe_tags=list(unsubscribe_tags),
    )
    record = seal(row, record_id="rec_tags", source="test", subject=row.id, time_ms=0, project_id=tenant.project_id)
    await log.append([outgoing(TOPICS["projects"], record, key=row.id)], within=10)
    await known(ingest, tenant)

    async def told() -> bool:
        found = await ingest.call("GET", f"/v1/projects/{tenant.project_id}", key=tenant.keys["admin"])
        return found.status == 200 and found.json["unsubscribe_tags"] == list(unsubscribe_tags)

    await holds(told)
    return tenant


async def link_of(broker: Broker, message_id: str) -> str | None:
    (submit,) = await submits_of(broker, message_id)
    return submit.content.list_unsubscribe


async def mail_with_link(
    broker: Broker, log: Log, ingest: Client, recipient: str, *, key: str = "live"
) -> tuple[Tenant, str, str]:
    """A tenant, the message, and the path of its link."""
    tenant = await tenant_with(log, ingest, ["news"])
    body = tenant.mail(recipient=recipient, tags=["news"])
    sent = await ingest.call("POST", "/v1/messages", key=tenant.keys[key], json=body)  # type: ignore[index]  # live or test
    link = await link_of(broker, sent.json["message_id"])
    assert link is not None
    return tenant, sent.json["message_id"], link.removeprefix(ingest.url)


async def causes_of(ingest: Client, tenant: Tenant, recipient: str) -> list[tuple[str, str, str]]:
    reply = await ingest.call("GET", f"/v1/suppressions/{recipient}", key=tenant.live)
    causes = reply.json["causes"] if reply.status == 200 else []
    return [(cause["reason"], cause["origin"], cause["tag"]) for cause in causes]


async def test_each_recipient_has_a_link_of_his_own(own_broker: Broker, ingest: Client, log: Log) -> None:
    tenant = await tenant_with(log, ingest, ["news"])
    sent = await ingest.send(tenant, tenant.mail(recipient=["a@example.org", "b@example.org"], tags=["news"]))
    links = [await link_of(own_broker, message["message_id"]) for message in sent.json["messages"]]
    assert len(set(links)) == 2
    assert all(link is not None and link.startswith(f"{ingest.url}/u/") for link in links)
    other = await ingest.send(tenant, tenant.mail(tags=["otp"]))
    assert await link_of(own_broker, other.json["message_id"]) is None
    headers = {"List-Unsubscribe": "<mailto:leave@shop.example>"}
    own = await ingest.send(tenant, tenant.mail(tags=["news"], headers=headers))
    assert await link_of(own_broker, own.json["message_id"]) is None


async def test_a_get_asks_and_changes_nothing(own_broker: Broker, ingest: Client, log: Log) -> None:
    """A scanner that follows every link of a mail unsubscribes nobody."""
    tenant, _, path = await mail_with_link(own_broker, log, ingest, "scanned@example.net")
    for method in ("GET", "HEAD", "GET"):
        reply = await ingest.call(method, path)
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/html")
    assert b'<form method="post">' in reply.raw
    assert b'name="List-Unsubscribe" value="One-Click"' in reply.raw
    assert tenant.project_id.encode() not in reply.raw
    assert b"scanned" not in reply.raw
    assert await causes_of(ingest, tenant, "scanned@example.net") == []


async def test_a_post_unsubscribes_once(own_broker: Broker, ingest: Client, other_ingest: Client, log: Log) -> None:
    tenant, message_id, path = await mail_with_link(own_broker, log, ingest, "Ada@Example.net")
    for client in (ingest, other_ingest, ingest):
        reply = await client.call("POST", path, data=ONE_CLICK)
        assert (reply.status, b"unsubscribed" in reply.raw) == (200, True)
    for client in (ingest, other_ingest):
        assert await causes_of(client, tenant, "ada@example.net") == [("unsubscribed", "unsubscribe", "news")]
    one = (await ingest.call("GET", "/v1/unsubscribes/ada@example.net", key=tenant.live)).json
    topic = TOPICS["account-events"]
    told = [
        envelope
        for partition in range(topic.partitions)
        for record in await everything_in(own_broker.bootstrap_servers, topic.name, partition)
        if (envelope := decode(record.value, topic.types)).project_id == tenant.project_id
    ]
    by_id = {envelope.id: envelope for envelope in told}
    assert [type(envelope.data) for envelope in by_id.values()] == [RecipientUnsubscribed, SuppressionAdded]
    assert one["source_event_id"] in by_id
    place = parse_message_id(message_id)
    assert place is not None
    records = await everything_in(own_broker.bootstrap_servers, message_inputs(place.lane).name, place.partition)
    inputs = [decode(record.value, MESSAGE_INPUTS).data for record in records if record.key == message_id]
    reports = [report for report in inputs if isinstance(report, Feedback)]
    assert {(report.feedback_id, report.kind) for report in reports} == {(reports[0].feedback_id, "unsubscribe")}


async def test_a_providers_multipart_form_is_taken_and_other_bodies_are_not(
    own_broker: Broker, ingest: Client, log: Log
) -> None:
    tenant, _, path = await mail_with_link(own_broker, log, ingest, "multi@example.net")
    for body in (b"", b"List-Unsubscribe=No", b'{"a": 1}'):
        assert (await ingest.call("POST", path, data=body)).status == 400
    assert await causes_of(ingest, tenant, "multi@example.net") == []
    boundary = "xYz"
    form = f'--{boundary}\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--{boundary}--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert (await ingest.call("POST", path, data=form.encode(), headers=headers)).status == 200
    assert await causes_of(ingest, tenant, "multi@example.net") == [("unsubscribed", "unsubscribe", "news")]


@pytest.mark.parametrize("token", ["x", "A" * 200, "%00", "..%2F..", "A" * 5000])
async def test_what_is_no_link_is_not_found(ingest: Client, token: str) -> None:
    for method in ("GET", "POST"):
        reply = await ingest.call(method, f"/u/{token}", data=ONE_CLICK if method == "POST" else None)
        assert reply.status == 404


async def test_mail_of_a_test_key_unsubscribes_nobody(own_broker: Broker, ingest: Client, log: Log) -> None:
    tenant, _, path = await mail_with_link(own_broker, log, ingest, "tested@example.net", key="test")
    assert (await ingest.call("POST", path, data=ONE_CLICK)).status == 200
    assert await causes_of(ingest, tenant, "tested@example.net") == []


async def test_links_are_limited_by_address(
    own_broker: Broker, ingest: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, path = await mail_with_link(own_broker, log, ingest, "limited@example.net")
    monkeypatch.setattr(admission, "LINKS_PER_MINUTE", 1)

    async def refused() -> bool:
        return (await ingest.call("POST", path, data=b"")).status == 429

    await holds(refused)
    reply = await ingest.call("GET", path)
    assert (reply.status, reply.headers["X-RateLimit-Limit"]) == (429, "1")
    assert "Retry-After" in reply.headers
