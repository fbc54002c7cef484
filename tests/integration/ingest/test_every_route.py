"""Every route of the app × every kind of key, from one table (R13; D78, D79). A route that is added needs a row here.

The real app is asked, with requests that nobody could carry out: a body that is not JSON, an id of nothing. So what an
allowed caller gets is known, too, and a key that is let in where it must not be is seen by its status.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio
from fastapi.routing import iter_route_contexts

from chassis.log import Log, outgoing
from schemas.envelope import seal
from schemas.tables import ApiKey
from schemas.topics import TOPICS
from services.ingest.domain.access import OF_DELIVERY, ONLY_OF_ADMINS, SCOPES, Scope
from services.ingest.domain.keys import hash_of, new_key
from tests.integration.ingest.stage import CREATED_AT, Client, Reply, Tenant, holds, known, new_tenant, replica
from tests.kit.broker import Broker

NOT_JSON = b"{"
UNAUTHORIZED, FORBIDDEN = 401, 403


@dataclass(frozen=True, slots=True)
class Row:
    """Who may, and what they get: for NOT_JSON and ids of nothing. `scope` None: no key is asked for."""

    scope: str | None
    status: int
    body: Any = None  # for the ids of others: one that gets as far as the look-up; None: an empty object


ROWS: dict[tuple[str, str], Row] = {
    ("POST", "/v1/messages"): Row("messages.send", 400),
    ("POST", "/v1/messages/batch"): Row("messages.send", 400),
    ("GET", "/v1/messages"): Row("messages.read", 503),  # no read side is there
    ("GET", "/v1/messages/{message_id}"): Row("messages.read", 404),
    ("DELETE", "/v1/messages/{message_id}"): Row("messages.send", 404),
    ("PATCH", "/v1/messages/{message_id}"): Row("messages.send", 404),
    ("POST", "/v1/messages/{message_id}/release"): Row("messages.send", 404),
    ("GET", "/v1/events"): Row("events.read", 503),
    ("POST", "/v1/templates"): Row("templates.write", 400),
    ("GET", "/v1/templates"): Row("templates.read", 200),
    ("GET", "/v1/templates/{name_or_id}"): Row("templates.read", 404),
    ("PUT", "/v1/templates/{name_or_id}"): Row("templates.write", 400),
    ("DELETE", "/v1/templates/{name_or_id}"): Row("templates.write", 404),
    ("POST", "/v1/templates/{name_or_id}/publish"): Row("templates.write", 400),
    ("POST", "/v1/templates/{name_or_id}/render"): Row("templates.read", 400),
    ("POST", "/v1/templates/{name_or_id}/validate"): Row("templates.read", 400),
    ("POST", "/v1/suppressions"): Row("suppressions.write", 400),
    ("GET", "/v1/suppressions"): Row("suppressions.read", 200),
    ("GET", "/v1/suppressions/{address:path}"): Row("suppressions.read", 404),
    ("DELETE", "/v1/suppressions/{address:path}"): Row("suppressions.write", 404),
    ("POST", "/v1/unsubscribes"): Row("suppressions.write", 400),
    ("GET", "/v1/unsubscribes"): Row("suppressions.read", 200),
    ("GET", "/v1/unsubscribes/{address:path}"): Row("suppressions.read", 404),
    ("DELETE", "/v1/unsubscribes/{address:path}"): Row("suppressions.write", 404),
    ("GET", "/v1/metrics"): Row("metrics.read", 503),
    ("GET", "/v1/ledger"): Row("ledger.read", 503),
    ("GET", "/v1/sandbox/messages"): Row("sandbox.read", 503),
    ("GET", "/v1/sandbox/messages/{message_id}"): Row("sandbox.read", 404),
    ("GET", "/u/{token}"): Row(None, 404),
    ("POST", "/u/{token}"): Row(None, 404),
    ("POST", "/v1/webhooks"): Row("webhooks.write", 400),
    ("GET", "/v1/webhooks"): Row("webhooks.read", 200),
    ("GET", "/v1/webhooks/{endpoint_id}"): Row("webhooks.read", 404),
    ("PATCH", "/v1/webhooks/{endpoint_id}"): Row("webhooks.write", 400),
    ("DELETE", "/v1/webhooks/{endpoint_id}"): Row("webhooks.write", 404),
    ("POST", "/v1/webhooks/{endpoint_id}/rotate-secret"): Row("webhooks.write", 400),
    ("POST", "/v1/webhooks/{endpoint_id}/test"): Row("webhooks.write", 404),
    ("POST", "/v1/webhooks/{endpoint_id}/replays"): Row("webhooks.write", 400),
    ("GET", "/v1/webhooks/{endpoint_id}/replays"): Row("webhooks.read", 404),
    ("GET", "/v1/webhooks/{endpoint_id}/replays/{replay_id}"): Row("webhooks.read", 404),
    ("GET", "/v1/webhooks/{endpoint_id}/attempts"): Row("webhooks.read", 404),
    ("POST", "/v1/api-keys"): Row("api_keys.write", 400),
    ("GET", "/v1/api-keys"): Row("api_keys.read", 200),
    ("GET", "/v1/api-keys/{key_id}"): Row("api_keys.read", 404),
    ("POST", "/v1/api-keys/{key_id}/rotate"): Row("api_keys.write", 400),
    ("DELETE", "/v1/api-keys/{key_id}"): Row("api_keys.write", 404),
    ("POST", "/v1/domains"): Row("domains.write", 400),
    ("GET", "/v1/domains"): Row("domains.read", 200),
    ("GET", "/v1/domains/{domain_id}"): Row("domains.read", 404),
    ("POST", "/v1/domains/{domain_id}/verify"): Row("domains.write", 404),
    ("DELETE", "/v1/domains/{domain_id}"): Row("domains.write", 404),
    ("POST", "/v1/projects"): Row("projects.write", 400),
    ("GET", "/v1/projects"): Row("projects.read", 200),
    ("GET", "/v1/projects/{project_id}"): Row("projects.read", 404),
    ("PATCH", "/v1/projects/{project_id}"): Row("projects.write", 400),
    ("POST", "/v1/routes"): Row("routes.write", 400),
    ("GET", "/v1/routes"): Row("routes.read", 200),
    ("GET", "/v1/routes/explain"): Row("routes.read", 422),
    ("GET", "/v1/messages/{message_id}/explain"): Row("messages.read", 404),
    ("GET", "/v1/routes/{route_id}"): Row("routes.read", 404),
    ("PATCH", "/v1/routes/{route_id}"): Row("routes.write", 400),
    ("DELETE", "/v1/routes/{route_id}"): Row("routes.write", 404),
    ("POST", "/v1/routes/{route_id}/undo"): Row("routes.write", 404),
    ("POST", "/v1/upstreams"): Row("upstreams.write", 400),
    ("GET", "/v1/upstreams"): Row("upstreams.read", 200),
    ("GET", "/v1/upstreams/{upstream_id}"): Row("upstreams.read", 404),
    ("PATCH", "/v1/upstreams/{upstream_id}"): Row("upstreams.write", 400),
    ("DELETE", "/v1/upstreams/{upstream_id}"): Row("upstreams.write", 404),
    ("POST", "/v1/upstreams/{upstream_id}/undo"): Row("upstreams.write", 404),
    ("POST", "/v1/policies"): Row("policies.write", 400),
    ("GET", "/v1/policies"): Row("policies.read", 200),
    ("GET", "/v1/policies/{policy_id}"): Row("policies.read", 404),
    ("PATCH", "/v1/policies/{policy_id}"): Row("policies.write", 400),
    ("DELETE", "/v1/policies/{policy_id}"): Row("policies.write", 404),
    ("POST", "/v1/policies/{policy_id}/undo"): Row("policies.write", 404),
    ("GET", "/v1/pools"): Row("pools.read", 200),
    ("GET", "/v1/pools/{pool}"): Row("pools.read", 404),
    ("GET", "/v1/queues"): Row("queues.read", 200),
    ("GET", "/v1/queues/{queue}"): Row("queues.read", 200),  # every domain is a queue
    ("POST", "/v1/queues/{queue}/pause"): Row("queues.write", 400),
    ("POST", "/v1/queues/{queue}/resume"): Row("queues.write", 400),
    ("POST", "/v1/queues/{queue}/flush"): Row("queues.write", 400),
    ("GET", "/v1/dead-letters"): Row("messages.read", 503),
    ("GET", "/v1/dead-letters/groups"): Row("messages.read", 503),
    ("POST", "/v1/dead-letters/redrive"): Row("messages.send", 400),
    ("GET", "/v1/dead-letters/{message_id}"): Row("messages.read", 404),
    ("POST", "/v1/dead-letters/{message_id}/redrive"): Row("messages.send", 400, {}),
    ("POST", "/v1/alerts"): Row("alerts.write", 400),
    ("GET", "/v1/alerts"): Row("alerts.read", 200),
    ("GET", "/v1/alerts/{alert_id}"): Row("alerts.read", 404),
    ("PATCH", "/v1/alerts/{alert_id}"): Row("alerts.write", 400),
    ("DELETE", "/v1/alerts/{alert_id}"): Row("alerts.write", 404),
    ("POST", "/v1/alerts/{alert_id}/undo"): Row("alerts.write", 404),
    ("GET", "/openapi.json"): Row(None, 200),
    ("GET", "/docs"): Row(None, 200),
    ("GET", "/docs/errors"): Row(None, 200),
    ("GET", "/asyncapi.json"): Row(None, 200),
    ("GET", "/events-docs"): Row(None, 200),
    ("GET", "/health/live"): Row(None, 200),
    ("GET", "/health/ready"): Row(None, 200),
    ("GET", "/metrics"): Row(None, 200),
}
ADMIN_SCOPES = {"projects.read", "projects.write", "api_keys.read", "api_keys.write", *OF_DELIVERY}
EVERY_SCOPE = sorted(get_args(Scope))
SHARED = ("/v1/queues", "/v1/pools")  # names, of which none is a project's
NOT_READ = (
    "/v1/messages",
    "/v1/projects",
    "/v1/sandbox",
    "/v1/unsubscribes",
    "/v1/dead-letters",
)  # what no such key finds again here
UNKNOWN = {
    "message_id": "msg_0",
    "name_or_id": "tpl_0",
    "address:path": "nobody@nowhere.example",
    "token": "x",
    "endpoint_id": "whk_0",
    "replay_id": "rpl_0",
    "key_id": "key_0",
    "domain_id": "dom_0",
    "project_id": "prj_0",
    "route_id": "rte_0",
    "upstream_id": "ups_0",
    "policy_id": "pol_0",
    "alert_id": "alr_0",
    "pool": "nothing",
    "queue": "nowhere.example",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of key, and what becomes of its requests."""

    key: str | None
    scopes: frozenset[str] = frozenset()  # that it opens
    refused: int | None = None  # whatever it asks for

    def expected(self, row: Row) -> int:
        if row.scope is None:
            return row.status
        if self.refused is not None:
            return self.refused
        return row.status if row.scope in self.scopes else FORBIDDEN


@dataclass(frozen=True, slots=True)
class Keys:
    client: Client
    tenant: Tenant
    kinds: dict[str, Kind]


def routes_of(client: Client) -> set[tuple[str, str]]:
    return {
        (method, str(context.path))
        for context in iter_route_contexts(client.app.routes)
        for method in context.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }


def path_of(route: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        route = route.replace(f"{{{name}}}", value)
    assert "{" not in route, f"{route}: UNKNOWN and THEIRS lack the name of an id"
    return route


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keys(own_broker: Broker, log: Log, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keys]:
    """A key of every kind, at a replica where strangers are not limited as soon."""
    tenant = await new_tenant(log)
    changes: dict[str, dict[str, Any]] = {scope: {"scopes": [scope]} for scope in EVERY_SCOPE}
    changes |= {
        "revoked": {"revoked_at": CREATED_AT},
        "expired": {"expires_at": CREATED_AT},
        "elsewhere": {"networks": ["192.0.2.0/24"]},
    }
    texts = {name: new_key("live") for name in changes}
    rows = [_row(tenant, name, texts[name], change) for name, change in changes.items()]
    await log.append([outgoing(TOPICS["api-keys"], _sealed(row), key=row.id) for row in rows], within=10)
    kinds = {scope: Kind(texts[scope], frozenset({scope}) - ONLY_OF_ADMINS) for scope in EVERY_SCOPE}
    kinds |= {
        "everything": Kind(tenant.live, SCOPES),
        "test": Kind(tenant.keys["test"], SCOPES),
        "admin": Kind(tenant.keys["admin"], frozenset(ADMIN_SCOPES)),
        "none": Kind(None, refused=UNAUTHORIZED),
        "unknown": Kind(new_key("live"), refused=UNAUTHORIZED),
        "malformed": Kind("sk_live_x", refused=UNAUTHORIZED),
        "revoked": Kind(texts["revoked"], refused=UNAUTHORIZED),
        "expired": Kind(texts["expired"], refused=UNAUTHORIZED),
        "elsewhere": Kind(texts["elsewhere"], refused=FORBIDDEN),
    }
    folder: Path = tmp_path_factory.mktemp("routes")
    async with replica(own_broker, folder) as client:
        await holds(client.ready)
        await known(client, tenant)
        yield Keys(client, tenant, kinds)


def _row(tenant: Tenant, name: str, text: str, change: dict[str, Any]) -> ApiKey:
    row = ApiKey(
        id=f"key_{name}{tenant.project_id}",
        project_id=tenant.project_id,
        name=name,
        environment="live",
        sha256=hash_of(text),
        scopes=["*"],
        requests_per_minute=1_000_000,
        created_at=CREATED_AT,
        revoked_at=None,
    )
    return row.model_copy(update=change)


def _sealed(row: ApiKey) -> Any:
    return seal(row, record_id=f"rec_{row.id}", source="test", subject=row.id, time_ms=0, project_id=row.project_id)


def test_every_route_has_a_row(ingest: Client) -> None:
    assert routes_of(ingest) - set(ROWS) == set()


def test_every_scope_opens_something() -> None:
    assert {row.scope for row in ROWS.values()} >= set(EVERY_SCOPE)


async def test_every_route_with_every_kind_of_key(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """D79."""
    monkeypatch.setattr("services.ingest.admission.ANONYMOUS_PER_MINUTE", 1_000_000)
    found: dict[tuple[str, str, str], int] = {}
    expected: dict[tuple[str, str, str], int] = {}
    for method, route in sorted(routes_of(keys.client)):
        row = ROWS[method, route]
        for name, kind in keys.kinds.items():
            reply = await keys.client.call(method, path_of(route, UNKNOWN), key=kind.key, data=_body(method))
            found[method, route, name] = reply.status
            expected[method, route, name] = kind.expected(row)
    assert {case: status for case, status in found.items() if status != expected[case]} == {}


async def test_an_id_of_another_project_is_an_id_of_nothing(keys: Keys, log: Log) -> None:
    """D78: the same status and the same bytes, whatever is asked of it."""
    other = await new_tenant(log)
    await known(keys.client, other)
    theirs = await _made_by(keys.client, other)
    routes = sorted(
        (method, route)
        for method, route in routes_of(keys.client)
        if "{" in route and "{token}" not in route and not route.startswith(SHARED)
    )
    for method, route in routes:
        body = ROWS[method, route].body or {}
        for key in (keys.tenant.live, keys.tenant.keys["test"]):
            one, nothing = [
                await _asked(keys.client, method, path_of(route, ids), key, body) for ids in (theirs, UNKNOWN)
            ]
            admins = ROWS[method, route].scope in ONLY_OF_ADMINS
            assert (one.status, method, route) == (FORBIDDEN if admins else 404, method, route)
            assert one.raw == nothing.raw, (method, route)
    for method, route in routes:  # and nothing has happened to any of them
        if method == "GET" and not route.startswith(NOT_READ):
            reply = await keys.client.call(method, path_of(route, theirs), key=other.live)
            assert reply.status == (503 if route.endswith("/attempts") else 200), (route, reply.raw)


async def _asked(client: Client, method: str, path: str, key: str, body: Any) -> Reply:
    sent = None if method in {"GET", "DELETE"} else body
    return await client.call(method, path, key=key, json=sent, headers={"X-Request-Id": "the-same"})


async def _made_by(client: Client, other: Tenant) -> dict[str, str]:
    """One of each, by another project."""
    template = {"name": "theirs", "subject": "x", "text": "x"}
    hook = {"url": "http://127.0.0.1:9/", "events": ["*"]}
    message = await client.send(other, other.mail())
    relay, rule = {"name": "x", "host": "smtp.example.net"}, {"name": "x", "paths": ["mx:main"]}
    upstream = await client.call("POST", "/v1/upstreams", key=other.live, json=relay)
    route = await client.call("POST", "/v1/routes", key=other.live, json=rule)
    policy = await client.call("POST", "/v1/policies", key=other.live, json={"name": "x", "max_age": "1h"})
    assert [reply.status for reply in (upstream, route, policy)] == [201] * 3
    watched = {"name": "x", "measure": "bounced", "condition": {"above": 1}}
    alert = await client.call("POST", "/v1/alerts", key=other.live, json=watched)
    assert alert.status == 201
    endpoint = await client.call("POST", "/v1/webhooks", key=other.live, json=hook)
    window = {"since": endpoint.json["created_at"]}
    replay = await client.call("POST", f"/v1/webhooks/{endpoint.json['id']}/replays", key=other.live, json=window)
    suppression = await client.call("POST", "/v1/suppressions", key=other.live, json={"recipient": "theirs@b.example"})
    made = await client.call("POST", "/v1/templates", key=other.live, json=template)
    assert (message.status, endpoint.status, suppression.status) == (202, 201, 201)
    return {
        "message_id": message.json["message_id"],
        "endpoint_id": endpoint.json["id"],
        "replay_id": replay.json["id"],
        "address:path": "theirs@b.example",
        "name_or_id": made.json["id"] if made.status == 201 else "",
        "key_id": other.key_ids["live"],
        "domain_id": other.domain_id,
        "project_id": other.project_id,
        "route_id": route.json["id"],
        "upstream_id": upstream.json["id"],
        "policy_id": policy.json["id"],
        "alert_id": alert.json["id"],
    }


def _body(method: str) -> bytes | None:
    return None if method in {"GET", "DELETE"} else NOT_JSON
