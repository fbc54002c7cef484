"""Which endpoints an event goes to (R31)."""

import pytest

from schemas.envelope import Envelope, Payload, decode
from schemas.topics import TOPICS
from services.webhooks.domain.matching import CLOCK_SKEW_MS, asks_for, matching
from tests.kit.examples import examples_of
from tests.unit.webhooks.made import NOW_MS, PROJECT, an_endpoint, an_event


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


def account_event(event_type: str) -> Envelope[Payload]:
    """The first example of that type, of the tests' project."""
    topic = TOPICS["account-events"]
    events = [decode(example.value, topic.types) for example in examples_of("account-events")]
    return next(event for event in events if event.type == event_type).model_copy(update={"project_id": PROJECT})


def test_r31_account_events_go_by_type_alone_for_tags_choose_among_mail() -> None:
    endpoints = [
        an_endpoint("all", created_ms=0),
        an_endpoint("family", events=["suppression.*"], tags=["news"], created_ms=0),
        an_endpoint("mail", events=["message.*"], created_ms=0),
    ]
    found = matching(account_event("suppression.added"), endpoints)
    assert [endpoint.id for endpoint in found] == ["all", "family"]


@pytest.mark.parametrize(
    "event_type", ["endpoint.failing", "endpoint.recovered", "endpoint.disabled", "delivery.exhausted"]
)
def test_r31_an_endpoint_is_not_called_about_itself_and_others_are(event_type: str) -> None:
    event = account_event(event_type)
    itself, other = an_endpoint(event.subject, created_ms=0), an_endpoint("whk_2", created_ms=0)
    assert matching(event, [itself, other]) == [other]
