"""Which endpoints an event goes to (R31)."""

import pytest

from services.webhooks.domain.matching import CLOCK_SKEW_MS, asks_for, matching
from tests.unit.webhooks.made import NOW_MS, an_endpoint, an_event


def test_by_type_or_star() -> None:
    endpoints = [
        an_endpoint("all"),
        an_endpoint("this", events=["message.delivered", "message.queued"]),
        an_endpoint("other", events=["message.delivered"]),
    ]
    assert [endpoint.id for endpoint in matching(an_event(), endpoints)] == ["all", "this"]


def test_by_any_tag_in_common_or_none_asked_for() -> None:
    endpoints = [
        an_endpoint("none"),
        an_endpoint("one of two", tags=["news", "code"]),
        an_endpoint("other", tags=["news"]),
    ]
    assert [endpoint.id for endpoint in matching(an_event(tags=["code", "login"]), endpoints)] == ["none", "one of two"]
    assert [endpoint.id for endpoint in matching(an_event(tags=[]), endpoints)] == ["none"]


def test_never_another_project() -> None:
    assert matching(an_event(), [an_endpoint(project="prj_2")]) == []


def test_only_events_after_the_endpoint_was_made() -> None:
    def goes(created_ms: int) -> bool:
        return bool(matching(an_event(), [an_endpoint(created_ms=created_ms)]))

    assert goes(NOW_MS)
    assert goes(NOW_MS + CLOCK_SKEW_MS)  # two machines' clocks: rather one too many than one too few
    assert not goes(NOW_MS + CLOCK_SKEW_MS + 1)


@pytest.mark.parametrize(("events", "wanted"), [
    (["message.*"], True), (["message.queued"], True), (["message.queued.*"], False), (["mess.*"], False),
    (["endpoint.*"], False), (["endpoint.*", "*"], True), ([], False), (["*.queued"], False),
])  # fmt: skip
def test_r31_types_and_families_of_types(events: list[str], wanted: bool) -> None:
    assert asks_for(events, "message.queued") is wanted


def test_r31_a_disabled_endpoint_is_asked_for_nothing() -> None:
    disabled = an_endpoint().model_copy(update={"disabled_at": "2026-09-21T14:13:20.123Z"})
    assert matching(an_event(), [disabled, an_endpoint("whk_2")]) == [an_endpoint("whk_2")]
