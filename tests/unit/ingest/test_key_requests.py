"""What may be asked of keys: nobody hands out, or takes over, more than they hold (R13, D79)."""

from datetime import timedelta
from typing import Any

import pytest

from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.key_requests import KeyRights, NewKey, check_grantable, read_key_request, read_rotation
from services.ingest.domain.keys import KeyEnvironment

NOW = 1_790_000_000_000  # 2026-09-21
LIVE = KeyRights("live", ("*",), (), (), None)
ADMIN = KeyRights("admin", ("*",), (), (), None)
ASKED = {"name": "n", "environment": "live"}


def ask(body: dict[str, Any], holder: KeyRights = LIVE) -> NewKey:
    caller = Caller("prj_1", "key_1", holder.environment, holder.scopes, None, holder.from_domains)
    return read_key_request(body, caller, holder, NOW)


def faults_of(body: dict[str, Any], holder: KeyRights = LIVE) -> set[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        ask(body, holder)
    assert refused.value.status == 422
    return {(fault.field, fault.code) for fault in refused.value.faults}


def rights(environment: KeyEnvironment = "live", *scopes: str, **bounds: Any) -> KeyRights:
    return KeyRights(
        environment,
        scopes or ("*",),
        bounds.get("from_domains", ()),
        bounds.get("networks", ()),
        bounds.get("expires_at"),
    )


def test_everything_that_can_be_asked() -> None:
    asked = {
        **ASKED,
        "scopes": ["messages.send", "messages.send"],
        "from_domains": ["Shop.Example", "bücher.example"],
        "networks": ["192.0.2.0/24", "2001:DB8::/32", "198.51.100.7"],
        "expires_at": "2027-01-01T01:00:00+01:00",
    }
    assert ask(asked) == NewKey(
        "n",
        "prj_1",
        KeyRights(
            "live",
            ("messages.send",),
            ("shop.example", "xn--bcher-kva.example"),
            ("192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"),
            "2027-01-01T00:00:00.000Z",
        ),
    )


def test_what_is_not_asked_is_as_its_makers() -> None:
    bound = rights(
        "live",
        "api_keys.write",
        from_domains=("a.example",),
        networks=("192.0.2.0/24",),
        expires_at="2027-01-01T00:00:00.000Z",
    )
    assert ask(ASKED, bound).rights == bound
    assert ask(ASKED, ADMIN).rights == LIVE


def test_all_faults_at_once() -> None:
    body = {
        "name": "",
        "environment": "admin",
        "scopes": ["x", 7, "projects.write"],
        "from_domains": ["a@b.example", "<x>", 7, "-"],
        "networks": ["192.0.2.1/24", "300.0.0.1", 7, "any"],
        "expires_at": "2026-01-01T00:00:00Z",
        "project_id": "prj_2",
        "plan": "x",
    }
    assert faults_of(body) == {
        ("name", "invalid_value"),
        ("environment", "invalid_value"),
        *((f"scopes[{n}]", "unknown_scope") for n in range(3)),
        *((f"from_domains[{n}]", "invalid_value") for n in range(4)),
        *((f"networks[{n}]", "invalid_value") for n in range(4)),
        ("expires_at", "in_the_past"),
        ("project_id", "unknown_project"),
        ("plan", "unknown_field"),
    }


def test_lists_are_lists_and_not_endless() -> None:
    body = {**ASKED, "scopes": [], "from_domains": "a.example", "networks": ["192.0.2.1"] * 51, "expires_at": 7}
    assert faults_of(body) == {
        ("scopes", "invalid_type"),
        ("from_domains", "invalid_type"),
        ("networks", "too_many"),
        ("expires_at", "invalid_type"),
    }


def test_admins_name_the_project() -> None:
    assert ask({**ASKED, "project_id": "prj_2"}, ADMIN).project_id == "prj_2"
    assert ask({**ASKED, "project_id": "prj_1"}).project_id == "prj_1"
    assert faults_of({**ASKED, "project_id": 7}, ADMIN) == {("project_id", "unknown_project")}


SOON, LATER = "2026-12-01T00:00:00.000Z", "2027-12-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("holder", "more"),
    [
        (rights("test"), rights("live")),
        (rights("live"), rights("admin")),
        (rights("live", "api_keys.write"), rights("live", "api_keys.write", "messages.send")),
        (rights("live", "api_keys.write"), rights("live", "*")),
        (rights(from_domains=("a.example",)), rights()),
        (rights(from_domains=("a.example",)), rights(from_domains=("a.example", "b.example"))),
        (rights(networks=("192.0.2.0/24",)), rights()),
        (rights(networks=("192.0.2.0/24",)), rights(networks=("192.0.0.0/16",))),
        (rights(networks=("192.0.2.0/24",)), rights(networks=("192.0.2.7/32", "2001:db8::/32"))),
        (rights(expires_at=SOON), rights()),
        (rights(expires_at=SOON), rights(expires_at=LATER)),
    ],
)
def test_nobody_hands_out_more_than_they_hold(holder: KeyRights, more: KeyRights) -> None:
    with pytest.raises(Refused) as refused:
        check_grantable(more, holder)
    assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")
    check_grantable(holder, holder)
    check_grantable(more, ADMIN)


def test_less_may_be_handed_out() -> None:
    holder = rights("live", "api_keys.write", "messages.send", networks=("192.0.2.0/24",), expires_at=LATER)
    check_grantable(rights("test", "messages.send", networks=("192.0.2.7/32",), expires_at=SOON), holder)


@pytest.mark.parametrize(
    ("body", "overlap"),
    [
        ({}, timedelta(hours=24)),
        ({"overlap": None}, timedelta(hours=24)),
        ({"overlap": "0"}, timedelta(0)),
        ({"overlap": 0}, timedelta(0)),
        ({"overlap": "90m"}, timedelta(minutes=90)),
        ({"overlap": "30d"}, timedelta(days=30)),
    ],
)
def test_overlaps(body: dict[str, Any], overlap: timedelta) -> None:
    assert read_rotation(body) == overlap


@pytest.mark.parametrize("overlap", ["31d", "-1h", "1", 1, True, False, [], "9" * 400 + "d", "1 year"])
def test_no_overlaps(overlap: Any) -> None:
    with pytest.raises(Refused) as refused:
        read_rotation({"overlap": overlap, "x": 1})
    assert {fault.field for fault in refused.value.faults} == {"overlap", "x"}
