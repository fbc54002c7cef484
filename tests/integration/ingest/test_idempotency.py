"""One key, one mail, one answer, over two replicas (R3; D14 to D17, D20, D21)."""

import asyncio
import secrets
from pathlib import Path

import orjson
import pytest

from chassis.clock import SystemClock
from chassis.ids import MessageIds, new_id
from chassis.log import Log, outgoing
from schemas.envelope import decode, seal
from schemas.idempotency import IDEMPOTENCY, Claim, Done
from schemas.tables import Domain
from schemas.topics import TOPICS
from services.ingest.domain.acceptance import Accepted, answer_of, claim_of
from services.ingest.domain.idempotency import fingerprint
from services.ingest.domain.submission import read_submission
from tests.integration.ingest import stage
from tests.integration.ingest.stage import (
    Client,
    Reply,
    Tenant,
    ends_of,
    holds,
    known,
    new_tenant,
    replica,
    submits_of,
)
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

IDS = MessageIds({1: bytes.fromhex("ab" * 32)}, 1)


@pytest.fixture
def key() -> str:
    return f"key {secrets.token_hex(8)}"


async def claims_of(broker: Broker, tenant: Tenant, key: str) -> list[Claim | Done]:
    """All that the claim log holds of this key."""
    topic = TOPICS["idempotency"]
    records = [
        record
        for partition in range(topic.partitions)
        for record in await everything_in(broker.bootstrap_servers, topic.name, partition)
        if record.key == f"{tenant.project_id}:{key}"
    ]
    found = [decode(record.value, IDEMPOTENCY).data for record in records]
    return [data for data in found if isinstance(data, Claim | Done)]


async def test_fifty_parallel_requests_over_two_replicas(
    own_broker: Broker, ingest: Client, other_ingest: Client, tenant: Tenant, key: str
) -> None:
    """D14: one mail, one answer; every other one is its replay, byte for byte."""
    await known(other_ingest, tenant)
    body = tenant.mail(tags=["d14"])
    replicas = [ingest, other_ingest]
    replies = await asyncio.gather(*(replicas[n % 2].send(tenant, body, key) for n in range(50)))
    assert {reply.status for reply in replies} == {202}
    assert len({reply.raw for reply in replies}) == 1
    firsts = [reply for reply in replies if "Idempotent-Replayed" not in reply.headers]
    assert len(firsts) == 1
    assert {reply.headers["Idempotent-Replayed"] for reply in replies if reply not in firsts} == {"true"}
    submits = await submits_of(own_broker, replies[0].json["message_id"])
    assert len(submits) == 1  # the holder was never so slow that another had to help

    async def closed() -> bool:
        return any(isinstance(data, Done) for data in await claims_of(own_broker, tenant, key))

    await holds(closed)
    late = await other_ingest.send(tenant, body, key)
    assert (late.status, late.raw, late.headers["Idempotent-Replayed"]) == (202, firsts[0].raw, "true")


async def test_another_body_is_refused_everywhere(
    own_broker: Broker, ingest: Client, other_ingest: Client, tenant: Tenant, key: str
) -> None:
    """D15: 422, and the first result stays."""
    await known(other_ingest, tenant)
    first = await ingest.send(tenant, tenant.mail(), key)
    before = await ends_of(own_broker, "message-inputs.express", "message-inputs.standard")
    for client in (ingest, other_ingest):
        reply = await client.send(tenant, tenant.mail(subject="Other"), key)
        assert (reply.status, reply.json["error"]["code"]) == (422, "idempotency_key_reused")
        invalid = await client.send(tenant, {"subject": 7}, key)  # looked up before it is validated
        assert (invalid.status, invalid.json["error"]["code"]) == (422, "idempotency_key_reused")
        again = await client.send(tenant, tenant.mail(), key)
        assert (again.status, again.raw) == (202, first.raw)
    assert await ends_of(own_broker, "message-inputs.express", "message-inputs.standard") == before


async def test_parallel_requests_with_two_bodies(
    ingest: Client, other_ingest: Client, tenant: Tenant, key: str
) -> None:  # fmt: skip
    """One of them wins, and nobody gets the answer to another question."""
    await known(other_ingest, tenant)
    bodies = [tenant.mail(subject=f"s{n % 2}") for n in range(20)]
    replies = await asyncio.gather(
        *((ingest if n % 3 else other_ingest).send(tenant, body, key) for n, body in enumerate(bodies))
    )
    winners = {n % 2 for n, reply in enumerate(replies) if reply.status == 202}
    assert len(winners) == 1
    assert [reply.status for reply in replies] == [202 if n % 2 in winners else 422 for n in range(20)]
    assert len({reply.raw for reply in replies if reply.status == 202}) == 1


async def test_the_scope_of_a_key_is_the_project(ingest: Client, tenant: Tenant, log: Log, key: str) -> None:
    """D16: two tenants, two mails; two keys of one project, one mail."""
    other = await new_tenant(log)
    await known(ingest, other)
    first = await ingest.send(tenant, tenant.mail(), key)
    assert (await ingest.send(other, other.mail(), key)).json["message_id"] != first.json["message_id"]
    headers = {"Idempotency-Key": key}
    again = await ingest.call("POST", "/v1/messages", key=tenant.keys["test"], json=tenant.mail(), headers=headers)
    assert again.raw == first.raw


async def test_a_crash_after_the_claim(
    own_broker: Broker, ingest: Client, log: Log, tenant: Tenant, key: str
) -> None:  # fmt: skip
    """D17: only the claim is in the log. The next try finishes it as the dead winner would have, from the claim alone."""
    body = tenant.mail(recipient=["a@example.org", "b@example.org"], priority="high")
    submission = read_submission(body)
    now_ms = SystemClock().now_ms()
    ids = tuple(
        IDS.new(project_id=tenant.project_id, now_ms=now_ms, lane="express", partition=3).text for _ in range(2)
    )
    decided = Accepted(ids, new_id("sub", now_ms), now_ms, "Then <then@was.example>", "test", "key_of_then")
    claim = claim_of(
        decided,
        claim_id=new_id("clm", now_ms),
        fingerprint=fingerprint("POST", "/v1/messages", body),
        answer=answer_of(submission, decided),
        valid_until_ms=log.broker_now_ms() + 60_000,
    )
    envelope = seal(
        claim, record_id=claim.claim_id, source="ingest", subject=ids[0], time_ms=now_ms, project_id=tenant.project_id
    )
    await log.append([outgoing(TOPICS["idempotency"], envelope, key=f"{tenant.project_id}:{key}")], within=5)
    replies = await asyncio.gather(*(ingest.send(tenant, body, key) for _ in range(5)))
    assert {reply.status for reply in replies} <= {202}
    assert {reply.raw.decode() for reply in replies} == {claim.answer}
    for message_id in ids:
        submits = await submits_of(own_broker, message_id)
        assert submits  # several may have helped; the router takes the first
        assert {s.model_copy(update={"valid_until_ms": 0}).model_dump_json() for s in submits} == {
            submits[0].model_copy(update={"valid_until_ms": 0}).model_dump_json()
        }
        assert (submits[0].content.from_, submits[0].environment) == ("Then <then@was.example>", "test")
        assert (submits[0].api_key_id, submits[0].submission_id) == ("key_of_then", decided.submission_id)

    async def closed() -> bool:
        return any(isinstance(data, Done) for data in await claims_of(own_broker, tenant, key))

    await holds(closed)


async def test_a_4xx_does_not_burn_the_key(
    own_broker: Broker, ingest: Client, tenant: Tenant, key: str
) -> None:  # fmt: skip
    """D20."""
    assert (await ingest.send(tenant, tenant.mail(priority="?"), key)).status == 422
    many = [f"r{n}@example.org" for n in range(50)]
    metadata = {f"k{n}": "\N{GRINNING FACE}" * 500 for n in range(50)}
    too_much = tenant.mail(recipient=many, metadata=metadata, text="x" * 80_000)
    assert (await ingest.send(tenant, too_much, key)).status == 413
    assert (await ingest.send(tenant, tenant.mail(**{"from": "a@elsewhere.example"}), key)).status == 422
    assert await claims_of(own_broker, tenant, key) == []
    assert (await ingest.send(tenant, tenant.mail(), key)).status == 202


async def test_a_replay_asks_no_table(ingest: Client, tenant: Tenant, log: Log, key: str) -> None:
    """R3: the first answer, whatever has changed since: here the project has lost its domain."""
    other = await new_tenant(log)
    await known(ingest, other)
    first = await ingest.send(other, other.mail(), key)
    lost = Domain(id="dom_1", project_id=other.project_id, domain=other.domain, verified_at=None)
    envelope = seal(lost, record_id="r", source="test", subject="d", time_ms=0, project_id=other.project_id)
    await log.append([outgoing(TOPICS["domains"], envelope, key=f"{other.project_id}:{other.domain}")], within=5)

    async def refused() -> bool:
        return (await ingest.send(other, other.mail())).status == 422

    await holds(refused)
    again = await ingest.send(other, other.mail(), key)
    assert (again.status, again.raw) == (202, first.raw)


async def test_the_same_json_written_differently(ingest: Client, tenant: Tenant, key: str) -> None:
    """D21."""
    body = tenant.mail(subject="Grüße", metadata={"a": "1", "b": "2"})
    first = await ingest.send(tenant, body, key)
    text = orjson.dumps(dict(reversed(body.items())), option=orjson.OPT_INDENT_2).decode().replace("ü", "\\u00fc")
    headers = {"Idempotency-Key": key}
    again = await ingest.call("POST", "/v1/messages", key=tenant.live, data=text.encode(), headers=headers)
    assert (again.status, again.raw) == (202, first.raw)


async def test_the_key_in_the_bodys_headers(own_broker: Broker, ingest: Client, tenant: Tenant, key: str) -> None:
    """The documentation's own form; it never reaches the mail, and both places are one key."""
    body = tenant.mail(headers={"X-Idempotency-Key": key, "X-A": "1"})
    first = await ingest.send(tenant, body)
    assert first.status == 202
    (submit,) = await submits_of(own_broker, first.json["message_id"])
    assert submit.content.headers == {"X-A": "1"}
    again = await ingest.send(tenant, body)
    assert (again.raw, again.headers["Idempotent-Replayed"]) == (first.raw, "true")
    assert (await ingest.send(tenant, tenant.mail(headers={"X-A": "1"}), key)).raw == first.raw
    reply = await ingest.send(tenant, body, key + "x")
    assert [error["code"] for error in reply.json["errors"]] == ["idempotency_key_mismatch"]


@pytest.mark.parametrize("values", [[""], ["x" * 257], ["a", "a"], ["a\tb"]])
async def test_a_bad_key_is_400(ingest: Client, tenant: Tenant, values: list[str]) -> None:
    """D19."""
    async with ingest.session.post(
        f"{ingest.url}/v1/messages",
        headers=[("Authorization", f"Bearer {tenant.live}"), *(("Idempotency-Key", value) for value in values)],
        json=tenant.mail(),
    ) as response:
        body = await response.json()
    assert (response.status, body["error"]["code"]) == (400, "invalid_idempotency_key")


async def test_after_the_window_a_key_is_new(
    own_broker: Broker, tenant: Tenant, key: str, tmp_path: Path
) -> None:  # fmt: skip
    """D18, with a window of a second."""
    async with replica(own_broker, tmp_path, idempotency_window="1s") as client:
        await holds(client.ready)
        first = await client.send(tenant, tenant.mail(), key)
        assert (await client.send(tenant, tenant.mail(), key)).raw == first.raw

        async def new() -> bool:
            reply = await client.send(tenant, tenant.mail(), key)
            return reply.status == 202 and reply.raw != first.raw

        await holds(new, within=5)


async def test_a_new_replica_knows_all_keys_before_it_answers(
    own_broker: Broker, ingest: Client, tenant: Tenant, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ingest.send(tenant, tenant.mail(), key)
    monkeypatch.setattr(stage, "PATIENCE", 0.0)
    async with replica(own_broker, tmp_path) as client:
        await holds(client.alive)
        replies: list[Reply] = []

        async def accepted() -> bool:
            replies.append(await client.send(tenant, tenant.mail(), key))
            return replies[-1].status == 202

        await holds(accepted, within=60)
        assert replies[-1].raw == first.raw
        assert {reply.status for reply in replies[:-1]} <= {503}
        assert all("Retry-After" in reply.headers for reply in replies[:-1])
