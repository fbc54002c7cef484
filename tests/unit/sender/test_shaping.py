"""How fast mail may go where, before anything is learned (R21)."""

from typing import Any

from schemas.routing import Policy
from services.sender.domain.shaping import SHAPES, Override, of_provider, override_for, shaped


def policy(name: str, **fields: Any) -> Policy:  # the fields of a Policy
    given = {
        "id": f"pol_{name}",
        "project_id": "",
        "name": name,
        "version": 1,
        "created_at": f"2026-11-01T00:00:0{name[-1]}.000Z",
        "updated_at": "2026-11-01T00:00:00.000Z",
        "updated_by": "key_1",
    }
    return Policy.model_validate(given | fields)


def test_a_provider_says_only_what_is_its_own() -> None:
    google = of_provider("google")
    assert (google.connections, google.messages_per_connection, google.tls) == (5, 50, "required")
    assert google.per_second == SHAPES["default"].per_second
    assert of_provider("somewhere.example") == SHAPES["default"]


def test_replicas_share_the_limits_and_each_has_one_connection_at_least() -> None:
    third = shaped(of_provider("default"), Override(), 3)
    assert (third.connections, third.first) == (3, 1)
    assert third.per_second is not None
    assert round(third.per_second, 1) == 33.3
    assert shaped(of_provider("orange"), Override(), 50).connections == 1


def test_a_policy_overrides_what_it_names_the_more_specific_first_then_the_older() -> None:
    policies = [
        policy("a0", messages_per_connection=9, per_second=99),
        policy("b2", provider_groups=["google"], connections=7, per_second=3),
        policy("a1", provider_groups=["google", "yahoo"], connections=2),
    ]
    assert override_for(policies, "google", None) == Override(2, 9, 3)
    assert override_for(policies, "yahoo", None) == Override(2, 9, 99)
    assert override_for(policies, "apple", None) == Override(None, 9, 99)


def test_limits_of_one_project_or_of_some_tags_do_not_count() -> None:
    """Addresses are shared by all projects."""
    policies = [
        policy("a1", project_id="prj_1", connections=1),
        policy("b2", tags=["news"], connections=1),
        policy("c3", deleted_at="2026-11-02T00:00:00.000Z", connections=1),
    ]
    assert override_for(policies, "google", None) == Override()


def test_a_policy_may_name_domains() -> None:
    policies = [
        policy("a1", recipient_domains=["example.org", "*.example.net"], connections=1),
        policy("b2", recipient_domains=["example.org"], provider_groups=["google"], per_second=2),
        policy("c3", recipient_domains=["a.example.net"], connections=3),
    ]
    assert override_for(policies, "google", "example.org") == Override(1, None, 2)
    assert override_for(policies, "yahoo", "example.org") == Override(1, None, None)
    assert override_for(policies, "yahoo", "a.example.net") == Override(3, None, None)
    assert override_for(policies, "yahoo", "b.example.net") == Override(1, None, None)
    assert override_for(policies, "yahoo", "example.net") == Override()
    assert override_for(policies, "google", None) == Override(), "a domain's limits are not its provider's"
