"""What each call asks of the server (R2, R6 to R9, R11, R13, R31, R55): method, path, query and body, as the API documents them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sendarix import attachment
from sendarix.exchange import Call, Listing, body_of
from sendarix.resources import (
    alerts,
    api_keys,
    dead_letters,
    domains,
    events,
    ledger,
    messages,
    metrics,
    policies,
    queues,
    routes,
    sandbox,
    suppressions,
    templates,
    upstreams,
    webhooks,
)

EIGHT = datetime(2027, 1, 15, 8, tzinfo=UTC)
MAIL: Any = {"recipient": "a@example.org", "from": "b@example.com", "scheduled_time": EIGHT}
WELCOME: Any = {"name": "welcome", "subject": "Hello {{ name }}"}

CALLS: list[tuple[Call[Any] | Listing[Any], str, str, Any]] = [
    (messages.send(MAIL), "POST", "/v1/messages", {**MAIL, "scheduled_time": "2027-01-15T08:00:00+00:00"}),
    (
        messages.send_batch([{"recipient": "a@example.org"}], strict=True),
        "POST",
        "/v1/messages/batch",
        {"messages": [{"recipient": "a@example.org"}], "strict": True},
    ),
    (messages.get("msg_1"), "GET", "/v1/messages/msg_1", None),
    (messages.get("../api-keys"), "GET", "/v1/messages/..%2Fapi-keys", None),
    (messages.cancel("msg_1"), "DELETE", "/v1/messages/msg_1", None),
    (
        messages.reschedule("msg_1", EIGHT),
        "PATCH",
        "/v1/messages/msg_1",
        {"scheduled_time": "2027-01-15T08:00:00+00:00"},
    ),
    (messages.release("msg_1"), "POST", "/v1/messages/msg_1/release", {}),
    (messages.explain("msg_1"), "GET", "/v1/messages/msg_1/explain", None),
    (routes.explain("ada@example.org", tag="otp"), "GET", "/v1/routes/explain", None),
    (events.page("c", types=["message.bounced"], limit=5), "GET", "/v1/events", None),
    (templates.create(WELCOME), "POST", "/v1/templates", WELCOME),
    (templates.listed(), "GET", "/v1/templates", None),
    (templates.get("a/b"), "GET", "/v1/templates/a%2Fb", None),
    (templates.update("welcome", {"subject": "Hi"}), "PUT", "/v1/templates/welcome", {"subject": "Hi"}),
    (templates.publish("welcome"), "POST", "/v1/templates/welcome/publish", {}),
    (
        templates.render("welcome", {"name": "Ada"}),
        "POST",
        "/v1/templates/welcome/render",
        {"template_data": {"name": "Ada"}},
    ),
    (templates.publish("welcome", version=2), "POST", "/v1/templates/welcome/publish", {"version": 2}),
    (templates.validate("welcome"), "POST", "/v1/templates/welcome/validate", {}),
    (templates.validate("welcome", {"text": "x"}), "POST", "/v1/templates/welcome/validate", {"text": "x"}),
    (templates.delete("welcome"), "DELETE", "/v1/templates/welcome", None),
    (
        suppressions.add("a@example.org", tag="news"),
        "POST",
        "/v1/suppressions",
        {"recipient": "a@example.org", "reason": "manual", "tag": "news"},
    ),
    (suppressions.listed(), "GET", "/v1/suppressions", None),
    (suppressions.get("ü@example.org"), "GET", "/v1/suppressions/%C3%BC%40example.org", None),
    (suppressions.remove("a@example.org"), "DELETE", "/v1/suppressions/a%40example.org", None),
    (domains.create("a.example"), "POST", "/v1/domains", {"domain": "a.example"}),
    (domains.create("a.example", ed25519=True), "POST", "/v1/domains", {"domain": "a.example", "ed25519": True}),
    (domains.listed(), "GET", "/v1/domains", None),
    (domains.get("dom_1"), "GET", "/v1/domains/dom_1", None),
    (domains.verify("dom_1"), "POST", "/v1/domains/dom_1/verify", {}),
    (domains.delete("dom_1"), "DELETE", "/v1/domains/dom_1", None),
    (webhooks.create(url="https://a.example"), "POST", "/v1/webhooks", {"events": ["*"], "url": "https://a.example"}),
    (webhooks.listed(), "GET", "/v1/webhooks", None),
    (webhooks.get("whk_1"), "GET", "/v1/webhooks/whk_1", None),
    (webhooks.update("whk_1", tags=["otp"]), "PATCH", "/v1/webhooks/whk_1", {"tags": ["otp"]}),
    (webhooks.delete("whk_1"), "DELETE", "/v1/webhooks/whk_1", None),
    (webhooks.rotate_secret("whk_1"), "POST", "/v1/webhooks/whk_1/rotate-secret", {}),
    (webhooks.rotate_secret("whk_1", overlap="0"), "POST", "/v1/webhooks/whk_1/rotate-secret", {"overlap": "0"}),
    (webhooks.test("whk_1"), "POST", "/v1/webhooks/whk_1/test", None),
    (webhooks.replay("whk_1", event_id="evt_1"), "POST", "/v1/webhooks/whk_1/replays", {"event_id": "evt_1"}),
    (
        webhooks.replay("whk_1", since=EIGHT, event_types=["message.*"], only_failed=True),
        "POST",
        "/v1/webhooks/whk_1/replays",
        {"since": "2027-01-15T08:00:00+00:00", "event_types": ["message.*"], "only_failed": True},
    ),
    (webhooks.replays("whk_1"), "GET", "/v1/webhooks/whk_1/replays", None),
    (webhooks.get_replay("whk_1", "rpl_1"), "GET", "/v1/webhooks/whk_1/replays/rpl_1", None),
    (webhooks.attempts("whk_1"), "GET", "/v1/webhooks/whk_1/attempts", None),
    (
        api_keys.create(name="ci", environment="test"),
        "POST",
        "/v1/api-keys",
        {"name": "ci", "environment": "test"},
    ),
    (api_keys.listed(), "GET", "/v1/api-keys", None),
    (api_keys.get("key_1"), "GET", "/v1/api-keys/key_1", None),
    (api_keys.rotate("key_1", overlap="0"), "POST", "/v1/api-keys/key_1/rotate", {"overlap": "0"}),
    (api_keys.revoke("key_1"), "DELETE", "/v1/api-keys/key_1", None),
    (metrics.get(), "GET", "/v1/metrics", None),
    (ledger.get(), "GET", "/v1/ledger", None),
    (sandbox.listed(), "GET", "/v1/sandbox/messages", None),
    (sandbox.get("msg_1"), "GET", "/v1/sandbox/messages/msg_1", None),
    (routes.create(name="x", paths=["mx:main"]), "POST", "/v1/routes", {"name": "x", "paths": ["mx:main"]}),
    (routes.listed(), "GET", "/v1/routes", None),
    (routes.get("rte_1"), "GET", "/v1/routes/rte_1", None),
    (routes.update("rte_1", name="y"), "PATCH", "/v1/routes/rte_1", {"name": "y"}),
    (routes.delete("rte_1"), "DELETE", "/v1/routes/rte_1", None),
    (routes.undo("rte_1"), "POST", "/v1/routes/rte_1/undo", {}),
    (upstreams.create(preset="gmail"), "POST", "/v1/upstreams", {"preset": "gmail"}),
    (upstreams.listed(), "GET", "/v1/upstreams", None),
    (upstreams.get("ups_1"), "GET", "/v1/upstreams/ups_1", None),
    (upstreams.update("ups_1", name="y"), "PATCH", "/v1/upstreams/ups_1", {"name": "y"}),
    (upstreams.delete("ups_1"), "DELETE", "/v1/upstreams/ups_1", None),
    (upstreams.undo("ups_1"), "POST", "/v1/upstreams/ups_1/undo", {}),
    (policies.create(name="x", max_age="1h"), "POST", "/v1/policies", {"name": "x", "max_age": "1h"}),
    (policies.listed(), "GET", "/v1/policies", None),
    (policies.get("pol_1"), "GET", "/v1/policies/pol_1", None),
    (policies.update("pol_1", name="y"), "PATCH", "/v1/policies/pol_1", {"name": "y"}),
    (policies.delete("pol_1"), "DELETE", "/v1/policies/pol_1", None),
    (policies.undo("pol_1"), "POST", "/v1/policies/pol_1/undo", {}),
    (queues.listed(), "GET", "/v1/queues", None),
    (queues.get("mx:main", kind="path"), "GET", "/v1/queues/mx%3Amain", None),
    (
        queues.pause("a.example", reason="x"),
        "POST",
        "/v1/queues/a.example/pause",
        {"kind": "destination", "reason": "x"},
    ),
    (queues.resume("a.example"), "POST", "/v1/queues/a.example/resume", {"kind": "destination"}),
    (queues.flush("google", kind="provider_group"), "POST", "/v1/queues/google/flush", {"kind": "provider_group"}),
    (dead_letters.listed(), "GET", "/v1/dead-letters", None),
    (dead_letters.groups(), "GET", "/v1/dead-letters/groups", None),
    (dead_letters.get("msg_1"), "GET", "/v1/dead-letters/msg_1", None),
    (dead_letters.redrive("msg_1"), "POST", "/v1/dead-letters/msg_1/redrive", {}),
    (dead_letters.redrive_many(["msg_1"]), "POST", "/v1/dead-letters/redrive", {"message_ids": ["msg_1"]}),
    (
        dead_letters.redrive_matching({"since": EIGHT}, limit=5),
        "POST",
        "/v1/dead-letters/redrive",
        {"filters": {"since": "2027-01-15T08:00:00+00:00"}, "limit": 5},
    ),
    (alerts.create(name="x", measure="bounced"), "POST", "/v1/alerts", {"name": "x", "measure": "bounced"}),
    (alerts.listed(), "GET", "/v1/alerts", None),
    (alerts.get("alr_1"), "GET", "/v1/alerts/alr_1", None),
    (alerts.update("alr_1", enabled=False), "PATCH", "/v1/alerts/alr_1", {"enabled": False}),
    (alerts.delete("alr_1"), "DELETE", "/v1/alerts/alr_1", None),
    (alerts.undo("alr_1"), "POST", "/v1/alerts/alr_1/undo", {}),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_what_is_asked(call: Call[Any] | Listing[Any], method: str, path: str, body: Any) -> None:
    request = call.request
    said = None if request.body is None else json.loads(request.body)
    assert (request.method, request.path, said) == (method, path, body)


def test_what_would_be_there_twice_is_not_repeatable() -> None:
    once = {(call.request.method, call.request.path) for call, *_ in CALLS if not call.request.repeatable}
    assert once == {
        ("POST", "/v1/domains"),
        ("POST", "/v1/webhooks"),
        ("POST", "/v1/routes"),
        ("POST", "/v1/routes/rte_1/undo"),
        ("POST", "/v1/upstreams"),
        ("POST", "/v1/upstreams/ups_1/undo"),
        ("POST", "/v1/policies"),
        ("POST", "/v1/policies/pol_1/undo"),
        ("POST", "/v1/alerts"),
        ("POST", "/v1/alerts/alr_1/undo"),
        ("POST", "/v1/webhooks/whk_1/rotate-secret"),
        ("POST", "/v1/webhooks/whk_1/test"),
        ("POST", "/v1/webhooks/whk_1/replays"),
        ("POST", "/v1/api-keys"),
        ("POST", "/v1/api-keys/key_1/rotate"),
    }


def test_filters_are_written_as_the_api_reads_them() -> None:
    foretold = routes.explain("ada@example.org", from_="b@example.com", tag="otp", tier="critical")
    assert dict(foretold.request.query) == {
        "recipient": "ada@example.org",
        "from": "b@example.com",
        "tag": "otp",
        "tier": "critical",
    }
    for then in (messages.get("msg_1", as_of=EIGHT), messages.explain("msg_1", as_of=EIGHT)):
        assert dict(then.request.query) == {"as_of": "2027-01-15T08:00:00+00:00"}
    letters = dead_letters.listed(category="ip_blocked", since=EIGHT, redriven=False)
    assert dict(letters.request.query) == {
        "category": "ip_blocked",
        "since": "2027-01-15T08:00:00+00:00",
        "redriven": "false",
    }
    attempts = webhooks.attempts("whk_1", status="failed", event_id="evt_1")
    assert dict(attempts.request.query) == {"status": "failed", "event_id": "evt_1"}
    listing = messages.listed(from_="b@example.com", metadata={"order": "1042"}, since=EIGHT, status="delivered")
    assert dict(listing.request.query) == {
        "from": "b@example.com",
        "metadata[order]": "1042",
        "since": "2027-01-15T08:00:00+00:00",
        "status": "delivered",
    }
    assert dict(suppressions.remove("a@b.example", tag="*").request.query) == {"tag": "*"}
    assert dict(events.tail(types=["a", "b"]).request.query) == {"types": "a,b", "limit": "100"}
    asked = metrics.get(
        interval="day", time_zone="Europe/Berlin", group_by=["tag", "path"], channel="api"
    ).request.query
    assert dict(asked) == {"interval": "day", "time_zone": "Europe/Berlin", "group_by": "tag,path", "channel": "api"}


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_part_of_a_path_that_names_another_resource_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        messages.get(name)
    with pytest.raises(ValueError, match="is no id"):
        suppressions.remove(name)


def test_a_time_without_its_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        messages.reschedule("msg_1", datetime(2027, 1, 15, 8))  # noqa: DTZ001 - the point


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_can_not_say_is_refused_here(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        body_of({"metadata": value})


def test_a_mails_own_key_is_the_calls() -> None:
    """R3: the two would have to agree, so there is one."""
    call = messages.send({"recipient": "a@example.org", "headers": {"x-idempotency-KEY": "theirs"}})
    assert call.request.idempotency_key == "theirs"
    assert messages.send(MAIL, idempotency_key="mine").request.idempotency_key == "mine"
    assert messages.send(MAIL).request.idempotency_key is None


def test_an_attachment_of_bytes() -> None:
    assert attachment("logo.png", b"\x89PNG", content_id="logo") == {
        "filename": "logo.png",
        "content": "iVBORw==",
        "content_type": "image/png",
        "content_id": "logo",
    }
    assert attachment("x.unheard-of", b"") == {"filename": "x.unheard-of", "content": ""}
