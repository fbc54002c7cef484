"""What a webhook endpoint may be made and changed to (R31, D96)."""

from datetime import timedelta

import pytest

from schemas.envelope import to_timestamp
from schemas.tables import EndpointHealth, WebhookEndpoint, as_it_stands
from services.ingest.domain.endpoints import (
    MOST_OLD_SECRETS,
    changed,
    endpoint_shown,
    read_change,
    read_endpoint,
    rotated,
)
from services.ingest.domain.faults import Refused
from tests.unit.chassis.test_egress import REFUSED_URLS

NOW_MS = 1_790_000_000_123
DAY = timedelta(days=1)
ENDPOINT = WebhookEndpoint(
    id="whk_1", project_id="prj_1", url="https://example.com/hooks", events=["message.*"], tags=["code"],
    description="orders", sealed_secret="s0", created_at=to_timestamp(NOW_MS),
)  # fmt: skip


def change(body: dict[str, object], before: WebhookEndpoint = ENDPOINT, now_ms: int = NOW_MS) -> WebhookEndpoint:
    return changed(before, read_change(body, before, allow_loopback=False), now_ms)


def test_what_is_not_named_stays() -> None:
    assert change({}) == ENDPOINT
    assert change({"url": "https://example.org/"}) == ENDPOINT.model_copy(update={"url": "https://example.org/"})
    assert change({"tags": [], "events": ["*"], "description": None}) == ENDPOINT.model_copy(
        update={"tags": [], "events": ["*"], "description": None}
    )


def test_disabled_and_enabled_again_each_once() -> None:
    disabled = change({"disabled": True})
    assert (disabled.disabled_at, disabled.disabled_reason) == (to_timestamp(NOW_MS), "owner")
    assert change({"disabled": True}, disabled, NOW_MS + 5) == disabled
    enabled = change({"disabled": False}, disabled, NOW_MS + 9)
    assert (enabled.disabled_at, enabled.enabled_at) == (None, to_timestamp(NOW_MS + 9))
    assert change({"disabled": False}, enabled, NOW_MS + 20) == enabled


@pytest.mark.parametrize(("body", "field"), [
    ({"url": "https://127.1/"}, "url"), ({"url": None}, "url"), ({"events": []}, "events"),
    ({"events": ["message.nothing"]}, "events[0]"), ({"events": ["other.*"]}, "events[0]"),
    ({"rate_per_second": 0}, "rate_per_second"), ({"rate_per_second": True}, "rate_per_second"),
    ({"rate_per_second": 10_001}, "rate_per_second"), ({"rate_per_second": "9"}, "rate_per_second"),
    ({"disabled": "yes"}, "disabled"), ({"secret": "x"}, "secret"), ({"id": "whk_2"}, "id"),
])  # fmt: skip
def test_d91_a_change_is_judged_as_a_new_endpoint_is(body: dict[str, object], field: str) -> None:
    with pytest.raises(Refused) as refused:
        change(body)
    assert field in str(refused.value.__dict__)


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_d91_the_whole_corpus_is_refused_when_it_is_saved_and_when_it_is_changed(url: str) -> None:
    with pytest.raises(Refused) as at_creation:
        read_endpoint({"url": url, "events": ["*"]}, allow_loopback=False)
    with pytest.raises(Refused) as at_change:
        change({"url": url})
    for refused in (at_creation.value, at_change.value):
        assert (refused.status, [fault.field for fault in refused.faults]) == (422, ["url"])


def test_r31_what_was_disabled_for_its_health_is_enabled_by_whoever_owns_it() -> None:
    """Even where the clock of the service that disabled it is ahead."""
    at_ms = NOW_MS + 1000
    health = EndpointHealth(
        id="whk_1", project_id="prj_1", failing_since=to_timestamp(at_ms), first_event_at=to_timestamp(NOW_MS),
        disabled_at=to_timestamp(at_ms), disabled_reason="gone",
    )  # fmt: skip
    found = as_it_stands(ENDPOINT, health)
    assert (endpoint_shown(found)["disabled"], endpoint_shown(found)["disabled_reason"]) == (True, "gone")
    assert change({"description": "x"}, found).disabled_reason == "gone"
    enabled = change({"disabled": False}, found)
    assert as_it_stands(enabled, health) == enabled
    assert (enabled.disabled_at, enabled.disabled_reason) == (None, None)


def test_r31_a_rate_is_kept_until_it_is_taken_back() -> None:
    slow = change({"rate_per_second": 2})
    assert (slow.rate_per_second, change({}, slow).rate_per_second) == (2.0, 2.0)
    assert change({"rate_per_second": None}, slow).rate_per_second is None


def test_a_family_may_be_asked_for() -> None:
    asked = {"url": "https://example.com/", "events": ["message.*", "message.*", "suppression.*", "endpoint.failing"]}
    assert read_endpoint(asked, allow_loopback=False).events == ("message.*", "suppression.*", "endpoint.failing")


def test_a_rotation_keeps_the_old_secret_for_the_overlap() -> None:
    once = rotated(ENDPOINT, "s1", DAY, NOW_MS)
    assert (once.sealed_secret, [old.sealed_secret for old in once.old_secrets]) == ("s1", ["s0"])
    assert once.old_secrets[0].until == to_timestamp(NOW_MS + 86_400_000)
    twice = rotated(once, "s2", DAY, NOW_MS + 1000)
    assert [old.sealed_secret for old in twice.old_secrets] == ["s1", "s0"]
    late = rotated(twice, "s3", DAY, NOW_MS + 86_400_000)
    assert [old.sealed_secret for old in late.old_secrets] == ["s2", "s1"]


def test_without_overlap_no_old_secret_is_worth_anything() -> None:
    assert rotated(rotated(ENDPOINT, "s1", DAY, NOW_MS), "s2", timedelta(0), NOW_MS).old_secrets == []


def test_there_are_never_many_signatures_in_a_call() -> None:
    endpoint = ENDPOINT
    for number in range(20):
        endpoint = rotated(endpoint, f"s{number}", DAY, NOW_MS)
    assert len(endpoint.old_secrets) == MOST_OLD_SECRETS


def test_no_secret_is_shown() -> None:
    assert "sealed" not in str(endpoint_shown(rotated(ENDPOINT, "sealed1", DAY, NOW_MS))).replace("sealed1", "sealed")
