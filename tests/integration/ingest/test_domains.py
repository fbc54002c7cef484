"""`/v1/domains` on a real Kafka, with a DNS server on loopback (R4, R26, R50; D78)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from chassis.log import Log
from chassis.sealing import Seals
from schemas.topics import TOPICS
from tests.integration.ingest.stage import SEALING_KEY, Client, Reply, Tenant, known, new_tenant, replica
from tests.kit.broker import Broker
from tests.kit.dns_server import DnsServer, dns_server
from tests.kit.topics import everything_in


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def dns() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asking(own_broker: Broker, tmp_path_factory: pytest.TempPathFactory, dns: DnsServer) -> AsyncIterator[Client]:
    folder: Path = tmp_path_factory.mktemp("domains")
    servers = f"127.0.0.1:{dns.port}"
    async with replica(own_broker, folder, dns_servers=servers, mail_domain="mail.example.net") as client:
        yield client


@pytest.fixture
async def owner(asking: Client, log: Log) -> Tenant:
    tenant = await new_tenant(log)
    await known(asking, tenant)
    return tenant


async def add(client: Client, tenant: Tenant, **body: Any) -> Reply:
    reply = await client.call("POST", "/v1/domains", key=tenant.live, json=body)
    assert reply.status == 201, reply.raw
    return reply


async def verified(client: Client, tenant: Tenant, domain_id: str) -> dict[str, Any]:
    reply = await client.call("POST", f"/v1/domains/{domain_id}/verify", key=tenant.live)
    assert reply.status == 200, reply.raw
    found: dict[str, Any] = reply.json
    return found


def publish(dns: DnsServer, domain: dict[str, Any], *purposes: str) -> None:
    for record in domain["records"]:
        if record["purpose"] in purposes:
            dns.publish(record["name"], record["type"], record["value"] + ("." if record["type"] == "CNAME" else ""))


def statuses(domain: dict[str, Any]) -> dict[str, str]:
    return {record["purpose"]: record["status"] for record in domain["records"]}


def mail_from(domain: str, tenant: Tenant) -> dict[str, Any]:
    return {**tenant.mail(), "from": f"hello@{domain}"}


async def test_from_records_to_publish_to_mail_that_is_accepted(asking: Client, owner: Tenant, dns: DnsServer) -> None:
    """R26: the records; refused until DNS shows the keys; each record with its own result; refused when they are gone."""
    name = f"a{owner.domain}"
    made = (await add(asking, owner, domain=name.upper())).json
    dkim, spf, return_path, dmarc = made["records"]
    assert (made["domain"], made["status"], made["return_path"]) == (name, "unverified", f"bounces.{name}")
    assert dkim["name"].endswith(f"._domainkey.{name}")
    assert (spf["name"], spf["value"]) == (name, "v=spf1 include:spf.mail.example.net ~all")
    assert (return_path["name"], return_path["type"], return_path["value"]) == (
        f"bounces.{name}",
        "CNAME",
        "bounces.mail.example.net",
    )
    assert dmarc["name"] == f"_dmarc.{name}"
    assert set(statuses(made).values()) == {"pending"}
    assert (await asking.send(owner, mail_from(name, owner))).json["error"]["code"] == "sender_not_allowed"

    looked = await verified(asking, owner, made["id"])
    assert (looked["status"], set(statuses(looked).values())) == ("unverified", {"missing"})

    publish(dns, made, "dkim", "return_path")
    dns.publish(name, "TXT", "v=spf1 include:elsewhere.example -all", "google-site-verification=x")
    looked = await verified(asking, owner, made["id"])
    assert looked["status"] == "verified"
    assert statuses(looked) == {"dkim": "found", "spf": "wrong", "return_path": "found", "dmarc": "missing"}
    assert looked["records"][1]["found"] == ["v=spf1 include:elsewhere.example -all"]
    assert (await asking.send(owner, mail_from(name, owner))).status == 202

    dns.publish(dkim["name"], "TXT", "v=DKIM1; k=rsa; p=")
    looked = await verified(asking, owner, made["id"])
    assert (looked["status"], statuses(looked)["dkim"]) == ("unverified", "wrong")
    assert (await asking.send(owner, mail_from(name, owner))).status == 422


async def test_whoever_shows_his_own_keys_sends_and_nobody_else(
    asking: Client, owner: Tenant, dns: DnsServer, log: Log
) -> None:
    """Two projects add one domain; the DNS of one says nothing for the other."""
    other = await new_tenant(log)
    await known(asking, other)
    name = f"b{owner.domain}"
    first = (await add(asking, owner, domain=name)).json
    second = (await add(asking, other, domain=name)).json
    assert first["records"][0]["name"] != second["records"][0]["name"]
    publish(dns, first, "dkim")
    assert (await verified(asking, owner, first["id"]))["status"] == "verified"
    assert (await verified(asking, other, second["id"]))["status"] == "unverified"
    assert (await asking.send(other, mail_from(name, other))).status == 422
    again = await asking.call("POST", "/v1/domains", key=owner.live, json={"domain": name})
    assert (again.status, again.json["error"]["code"]) == (409, "conflict")


async def test_silence_takes_nothing_away(asking: Client, owner: Tenant, dns: DnsServer) -> None:
    """A resolver that fails says nothing of the record: what was verified stays so."""
    made = (await add(asking, owner, domain=f"c{owner.domain}", ed25519=True)).json
    publish(dns, made, "dkim")
    assert (await verified(asking, owner, made["id"]))["status"] == "verified"
    dns.broken.add(made["records"][1]["name"])
    looked = await verified(asking, owner, made["id"])
    assert [record["status"] for record in looked["records"][:2]] == ["found", "unknown"]
    assert looked["status"] == "verified"


async def test_shown_listed_and_removed(asking: Client, owner: Tenant, dns: DnsServer) -> None:
    name = f"d{owner.domain}"
    made = (await add(asking, owner, domain=name)).json
    publish(dns, made, "dkim", "spf", "dmarc")
    looked = await verified(asking, owner, made["id"])
    assert (await asking.call("GET", f"/v1/domains/{made['id']}", key=owner.live)).json == looked
    listed = (await asking.call("GET", "/v1/domains", key=owner.live)).json["data"]
    assert [domain["domain"] for domain in listed] == [name, owner.domain]
    assert (await asking.send(owner, mail_from(name, owner))).status == 202
    removed = await asking.call("DELETE", f"/v1/domains/{made['id']}", key=owner.live)
    assert removed.json == {"object": "domain", "id": made["id"], "deleted": True}
    assert (await asking.send(owner, mail_from(name, owner))).status == 422
    assert (await asking.call("GET", f"/v1/domains/{made['id']}", key=owner.live)).status == 404
    back = (await add(asking, owner, domain=name)).json
    assert back["records"][0]["name"] != made["records"][0]["name"]
    assert back["status"] == "unverified"


async def test_what_is_no_domain_is_refused(asking: Client, owner: Tenant) -> None:
    for body in ({}, {"domain": 7}, {"domain": "x@y.example"}, {"domain": "-"}, {"domain": "a.example", "ed25519": 1}):
        reply = await asking.call("POST", "/v1/domains", key=owner.live, json=body)
        assert (reply.status, len(reply.json["errors"])) == (422, 1), body


async def test_private_keys_lie_sealed(asking: Client, owner: Tenant, own_broker: Broker) -> None:
    """R50: neither in an answer nor in the log; whoever has the sealing key opens them."""
    reply = await add(asking, owner, domain=f"e{owner.domain}", ed25519=True)
    assert b"sealed" not in reply.raw
    records = await everything_in(own_broker.bootstrap_servers, TOPICS["domains"].name, 0)
    (value,) = (record.value for record in records if record.key == f"{owner.project_id}:e{owner.domain}")
    assert value is not None
    for key in orjson.loads(value)["data"]["dkim_keys"]:
        opened = Seals([SEALING_KEY]).open(key["sealed_private_key"])
        assert opened.encode() not in value
        assert opened.startswith(("MI", "MC"))
