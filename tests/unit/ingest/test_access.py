"""Who may do what (R13, D79): each scope against each key."""

import pytest

from services.ingest.domain.access import SCOPES, Caller, Scope, bearer_of, may, require
from services.ingest.domain.faults import Refused
from services.ingest.domain.key_requests import read_key_request
from services.ingest.domain.keys import KeyEnvironment


def caller(*scopes: str, environment: KeyEnvironment = "live") -> Caller:
    return Caller("prj_1", "key_1", environment, scopes, 1000)


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_each_scope_opens_its_own_door_only(scope: Scope) -> None:
    assert [other for other in sorted(SCOPES) if may(caller(scope), other)] == [scope]  # type: ignore[arg-type]  # all are scopes
    assert may(caller("*"), scope)
    assert not may(caller(), scope)


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_admin_keys_manage_keys_and_do_nothing_else(scope: Scope) -> None:
    assert may(caller("*", environment="admin"), scope) is scope.startswith("api_keys.")


def test_a_missing_scope_is_403() -> None:
    with pytest.raises(Refused) as refused:
        require(caller("messages.read"), "messages.send")
    assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "sk_live_x"])
def test_no_key_in_the_request(header: str | None) -> None:
    with pytest.raises(Refused) as refused:
        bearer_of(header)
    assert (refused.value.status, refused.value.code) == (401, "missing_api_key")


def test_a_key_in_the_request() -> None:
    assert bearer_of("Bearer abc") == "abc"
    assert bearer_of("bearer  abc") == "abc"


def test_new_keys_hold_no_more_than_their_maker() -> None:
    asked = {"name": "n", "environment": "live", "scopes": ["messages.send"]}
    assert read_key_request(asked, caller("api_keys.write", "messages.send")).scopes == ("messages.send",)
    assert read_key_request({"name": "n", "environment": "test"}, caller("api_keys.write")).scopes == (
        "api_keys.write",
    )
    assert read_key_request({"name": "n", "environment": "live"}, caller("*", environment="admin")).scopes == ("*",)
    for maker in (caller("api_keys.write"), caller("*", environment="test")):
        with pytest.raises(Refused) as refused:
            read_key_request(asked, maker)
        assert refused.value.code == "insufficient_scope"


def test_faults_of_a_key_request() -> None:
    body = {"name": "", "environment": "admin", "scopes": ["x", 7], "expires_at": "x", "plan": "x"}
    with pytest.raises(Refused) as refused:
        read_key_request(body, caller("*"))
    assert {(fault.field, fault.code) for fault in refused.value.faults} == {
        ("name", "invalid_value"),
        ("environment", "invalid_value"),
        ("scopes[0]", "unknown_scope"),
        ("scopes[1]", "unknown_scope"),
        ("expires_at", "unsupported_field"),
        ("plan", "unknown_field"),
    }
