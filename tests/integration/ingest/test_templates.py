"""Templates over HTTP (R8): kept, published, previewed, deleted; mail made from them, on one replica and another."""

import asyncio
import secrets
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.ids import MessageIds, new_id
from chassis.log import Log, outgoing
from schemas.envelope import seal
from schemas.topics import TOPICS
from services.ingest.domain.acceptance import Accepted, Pinned, answer_of, claim_of
from services.ingest.domain.idempotency import fingerprint
from services.ingest.domain.submission import read_submission
from tests.integration.ingest.stage import Client, Reply, Tenant, known, new_tenant, submits_of
from tests.kit.broker import Broker

IDS = MessageIds({1: bytes.fromhex("ab" * 32)}, 1)
OTP = {"subject": "Code {{ code }}", "html": "<p>Your code is <b>{{ code }}</b>.</p>"}


@pytest.fixture
def name() -> str:
    return f"otp-{secrets.token_hex(4)}"


def using(name: str, **changes: Any) -> dict[str, Any]:
    return {"recipient": "ada@example.org", "template": name, "template_data": {"code": "<1>"}, **changes}


async def created(client: Client, tenant: Tenant, name: str, **changes: Any) -> Reply:
    reply = await client.call("POST", "/v1/templates", key=tenant.live, json={"name": name, **OTP, **changes})
    assert reply.status == 201, reply.json
    return reply


async def test_a_template_from_creation_to_deletion(
    own_broker: Broker, ingest: Client, other_ingest: Client, tenant: Tenant, name: str
) -> None:
    made = await created(ingest, tenant, name)
    assert list(made.json) == [
        "id", "name", "published_version", "latest_version", "created_at", "updated_at",
        "version", "subject", "text", "html", "from",
    ]  # fmt: skip
    assert (made.json["version"], made.json["published_version"], made.json["from"]) == (1, 1, None)

    sent = await other_ingest.send(tenant, using(name))
    assert sent.status == 202, sent.json
    (submit,) = await submits_of(own_broker, sent.json["message_id"])
    assert submit.content.subject == "Code <1>"
    assert submit.content.html == "<p>Your code is <b>&lt;1&gt;</b>.</p>"
    assert submit.content.text == "Your code is <1>.\n"
    assert submit.content.from_ == f"Shop <hello@{tenant.domain}>"
    assert (submit.template, submit.template_version) == (name, 1)

    path = f"/v1/templates/{name}"
    second = await other_ingest.call("PUT", path, key=tenant.live, json={**OTP, "text": "Two {{ code }}"})
    assert (second.status, second.json["version"], second.json["published_version"]) == (200, 2, 1)
    assert (await ingest.call("GET", path, key=tenant.live)).json == second.json
    first = await ingest.call("GET", f"{path}?version=1", key=tenant.live)
    assert (first.json["version"], first.json["text"]) == (1, None)
    assert (await submits_of(own_broker, (await ingest.send(tenant, using(name))).json["message_id"]))[
        0
    ].template_version == 1

    published = await ingest.call("POST", f"{path}/publish", key=tenant.live)
    assert (published.status, published.json["published_version"]) == (200, 2)
    sent = await other_ingest.send(tenant, using(made.json["id"]))
    (submit,) = await submits_of(own_broker, sent.json["message_id"])
    assert (submit.content.text, submit.template, submit.template_version) == ("Two <1>", name, 2)
    back = await other_ingest.call("POST", f"{path}/publish", key=tenant.live, json={"version": 1})
    assert back.json["published_version"] == 1

    gone = await ingest.call("DELETE", path, key=tenant.live)
    assert (gone.status, gone.json["deleted"]) == (200, True)
    for client in (ingest, other_ingest):
        refused = await client.send(tenant, using(name))
        assert (refused.status, refused.json["errors"][0]["code"]) == (422, "unknown_template")
        assert (await client.call("GET", path, key=tenant.live)).status == 404
    again = await created(ingest, tenant, name)
    assert (again.json["id"] != made.json["id"], again.json["version"]) == (True, 1)


async def test_a_draft_is_not_sent(ingest: Client, tenant: Tenant, name: str) -> None:
    draft = await created(ingest, tenant, name, publish=False)
    assert draft.json["published_version"] is None
    refused = await ingest.send(tenant, using(name))
    assert (refused.status, refused.json["errors"][0]["code"]) == (422, "not_published")
    put = await ingest.call("PUT", f"/v1/templates/{name}", key=tenant.live, json={**OTP, "publish": True})
    assert put.json["published_version"] == 2
    assert (await ingest.send(tenant, using(name))).status == 202


async def test_a_preview(ingest: Client, tenant: Tenant, name: str) -> None:
    await created(ingest, tenant, name)
    path = f"/v1/templates/{name}/render"
    shown = await ingest.call("POST", path, key=tenant.live, json={"template_data": {"code": "7"}})
    assert shown.status == 200
    made = {part: shown.json[part] for part in ("subject", "text", "html")}
    assert made == {"subject": "Code 7", "text": "Your code is 7.\n", "html": "<p>Your code is <b>7</b>.</p>"}
    missing = await ingest.call("POST", path, key=tenant.live, json={"template_data": {}})
    assert (missing.status, missing.json["error"]["code"]) == (422, "template_error")
    assert missing.json["errors"] == [
        {
            "field": "template_data",
            "code": "missing_variable",
            "message": "`code` is missing (template.subject, line 1).",
            "line": 1,
            "variable": "code",
        }
    ]
    unknown = await ingest.call("POST", path, key=tenant.live, json={"template_data": {}, "version": 9})
    assert unknown.status == 404


async def test_a_validation(ingest: Client, tenant: Tenant, name: str) -> None:
    await created(ingest, tenant, name)
    path = f"/v1/templates/{name}/validate"
    stored = await ingest.call("POST", path, key=tenant.live)
    assert stored.json == {"valid": True, "variables": ["code"], "errors": []}
    given = await ingest.call("POST", path, key=tenant.live, json={"text": "{{ a.b }} {{ c }}"})
    assert given.json == {"valid": True, "variables": ["a.b", "c"], "errors": []}
    wrong = await ingest.call("POST", path, key=tenant.live, json={"text": "a\n{{ b", "html": "{% if %}"})
    assert wrong.json["valid"] is False
    assert [(error["field"], error["line"]) for error in wrong.json["errors"]] == [("text", 2), ("html", 1)]


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        ({"name": "x", "text": "{{ a"}, 422, ("text", "syntax_error")),
        ({"name": "x"}, 422, ("text", "required")),
        ({"name": "a b", "text": "t"}, 422, ("name", "invalid_value")),
        ({"name": "tpl_x", "text": "t"}, 422, ("name", "invalid_value")),
        ({"text": "t"}, 422, ("name", "required")),
        ({"name": "x", "text": "t", "from": "nobody"}, 422, ("from", "invalid_address")),
        ({"name": "x", "text": "t", "subject": "a\nb"}, 422, ("subject", "forbidden_characters")),
        ({"name": "x", "text": "t" * 512 * 1024 + "t"}, 422, ("html", "too_large")),
        ({"name": "x", "text": "t", "colour": 1}, 422, ("colour", "unknown_field")),
        ({"name": "x", "text": "{{ " + "1+" * 100_000 + "1 }}"}, 422, ("template", "too_costly")),
    ],
)  # fmt: skip
async def test_what_is_no_template(
    ingest: Client, tenant: Tenant, body: dict[str, Any], status: int, fault: tuple[str, str]
) -> None:
    reply = await ingest.call("POST", "/v1/templates", key=tenant.live, json=body)
    assert reply.status == status
    assert [(error["field"], error["code"]) for error in reply.json["errors"]] == [fault]


async def test_a_name_belongs_to_one(ingest: Client, other_ingest: Client, tenant: Tenant, name: str) -> None:
    """Also where two replicas are asked at once: one is told 201, and its template is the one that is there."""
    asking = [
        client.call("POST", "/v1/templates", key=tenant.live, json={"name": name, "text": str(n)})
        for n, client in enumerate([ingest, other_ingest] * 3)
    ]
    replies = await asyncio.gather(*asking)
    assert sorted(reply.status for reply in replies) == [201, 409, 409, 409, 409, 409]
    (winner,) = (reply.json for reply in replies if reply.status == 201)
    for client in (ingest, other_ingest):
        assert (await client.call("GET", f"/v1/templates/{name}", key=tenant.live)).json == winner
    refused = await ingest.call("POST", "/v1/templates", key=tenant.live, json={"name": name, "text": "t"})
    assert (refused.status, refused.json["error"]["code"]) == (409, "conflict")


async def test_versions_at_once_get_numbers_of_their_own(
    ingest: Client, other_ingest: Client, tenant: Tenant, name: str
) -> None:
    await created(ingest, tenant, name)
    path = f"/v1/templates/{name}"
    asking = [
        client.call("PUT", path, key=tenant.live, json={"text": f"v{n}"})
        for n, client in enumerate([ingest, other_ingest] * 3)
    ]
    replies = [reply.json for reply in await asyncio.gather(*asking)]
    assert sorted(reply["version"] for reply in replies) == [2, 3, 4, 5, 6, 7]
    for client in (ingest, other_ingest):
        for reply in replies:
            shown = await client.call("GET", f"{path}?version={reply['version']}", key=tenant.live)
            assert shown.json["text"] == reply["text"]


async def test_another_project_has_no_part_in_it(ingest: Client, log: Log, tenant: Tenant, name: str) -> None:
    """R13: the name is free there, and the id is not found."""
    made = await created(ingest, tenant, name)
    other = await new_tenant(log)
    await known(ingest, other)
    for reference in (name, made.json["id"]):
        assert (await ingest.call("GET", f"/v1/templates/{reference}", key=other.live)).status == 404
        assert (await ingest.send(other, using(reference))).status == 422
    await created(ingest, other, name)
    narrow = await new_tenant(log, scopes=("templates.read", "messages.send"))
    await known(ingest, narrow)
    refused = await ingest.call("POST", "/v1/templates", key=narrow.live, json={"name": name, **OTP})
    assert (refused.status, refused.json["error"]["code"]) == (403, "insufficient_scope")
    listed = await ingest.call("GET", "/v1/templates", key=narrow.live)
    assert listed.json == {"object": "list", "data": [], "has_more": False, "next_cursor": None}


async def test_a_crash_after_the_claim_and_a_new_version(
    own_broker: Broker, ingest: Client, log: Log, tenant: Tenant, name: str
) -> None:
    """D17, R3, R8: a winner died after its claim; v2 is published, the template deleted: the retry still sends v1."""
    made = await created(ingest, tenant, name)
    body = using(name)
    now_ms = SystemClock().now_ms()
    message = IDS.new(project_id=tenant.project_id, now_ms=now_ms, lane="standard", partition=3).text
    decided = Accepted(
        (message,), new_id("sub", now_ms), now_ms, "x@y.example", "live", "key", template=Pinned(made.json["id"], 1)
    )
    claim = claim_of(
        decided,
        claim_id=new_id("clm", now_ms),
        fingerprint=fingerprint("POST", "/v1/messages", body),
        answer=answer_of(read_submission(body), decided),
        valid_until_ms=log.broker_now_ms() + 60_000,
    )
    envelope = seal(
        claim, record_id=claim.claim_id, source="ingest", subject=message, time_ms=now_ms, project_id=tenant.project_id
    )
    await log.append([outgoing(TOPICS["idempotency"], envelope, key=f"{tenant.project_id}:{name}")], within=5)
    path = f"/v1/templates/{name}"
    await ingest.call("PUT", path, key=tenant.live, json={"text": "two", "publish": True})
    await ingest.call("DELETE", path, key=tenant.live)
    await created(ingest, tenant, name, text="another template's version 1")
    replayed = await ingest.send(tenant, body, name)
    assert (replayed.status, replayed.headers["Idempotent-Replayed"]) == (202, "true")
    (submit,) = await submits_of(own_broker, message)
    assert submit.content.text == "Your code is <1>.\n"
    assert (submit.template, submit.template_version) == (name, 1)
