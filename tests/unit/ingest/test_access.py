"""Who may do what (R13, D79): each scope against each key."""

import pytest

from services.ingest.domain.access import (
    OF_ADMINS,
    OF_DELIVERY,
    ONLY_OF_ADMINS,
    SCOPES,
    Caller,
    Scope,
    bearer_of,
    may,
    may_send_from,
    require,
)
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import KeyEnvironment


def caller(*scopes: str, environment: KeyEnvironment = "live") -> Caller:
    return Caller("prj_1", "key_1", environment, scopes, 1000)


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_each_scope_opens_its_own_door_only(scope: Scope) -> None:
    assert [other for other in sorted(SCOPES) if may(caller(scope), other)] == [scope]  # type: ignore[arg-type]  # all are scopes
    assert may(caller("*"), scope)
    assert not may(caller(), scope)


@pytest.mark.parametrize("scope", sorted(SCOPES | ONLY_OF_ADMINS))
def test_admin_keys_see_to_what_is_everybodys_and_do_nothing_else(scope: Scope) -> None:
    assert may(caller("*", environment="admin"), scope) is (scope in OF_ADMINS)
    assert sorted(OF_ADMINS - OF_DELIVERY) == ["api_keys.read", "api_keys.write", "projects.read", "projects.write"]
    assert {scope.partition(".")[0] for scope in OF_DELIVERY} == {"routes", "upstreams", "pools", "policies", "queues"}


@pytest.mark.parametrize("scope", sorted(ONLY_OF_ADMINS))
def test_no_scope_opens_what_is_the_admins(scope: Scope) -> None:
    assert not may(caller("*", scope), scope)


def test_a_key_may_be_bound_to_senders() -> None:
    """R13: exactly the domains it names; a subdomain is another domain."""
    bound = Caller("prj_1", "key_1", "live", ("*",), None, ("shop.example",))
    assert may_send_from(bound, "shop.example")
    assert not may_send_from(bound, "mail.shop.example")
    assert may_send_from(caller("*"), "any.example")


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
