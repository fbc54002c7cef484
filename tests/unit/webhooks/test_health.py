"""When an endpoint is failing, has recovered, is given up, and what its owner is told of it (R31, D95)."""

import asyncio
from dataclasses import replace

import pytest

from schemas.envelope import Envelope, Payload, encode, to_timestamp
from schemas.tables import EndpointHealth, WebhookEndpoint, as_it_stands
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.health import (
    DISABLE_AFTER_MS,
    EXHAUSTED_WINDOW_MS,
    FAILING_ATTEMPT,
    MESSAGES_APART_MS,
    Change,
    change_of,
    exhausted_of,
)
from services.webhooks.domain.outcome import Answered, judge
from services.webhooks.domain.records import Made
from services.webhooks.health import HealthKeeper
from tests.unit.webhooks.made import NOW_MS, PROJECT, a_delivery, an_endpoint
from tests.unit.webhooks.test_attempts import World

DAY_MS = 24 * 3_600_000


def a_call(status: int = 500, at_ms: int = NOW_MS) -> Made:
    return Made(at_ms, 0, judge(Answered(status, None, ""), at_ms))


def failing(since_ms: int = NOW_MS, first_event_ms: int = NOW_MS) -> EndpointHealth:
    return EndpointHealth(
        id="whk_1",
        project_id=PROJECT,
        failing_since=to_timestamp(since_ms),
        first_event_at=to_timestamp(first_event_ms),
    )


def told(
    made: Made, *, health: EndpointHealth | None = None, delivery: Delivery | None = None,
    endpoint: WebhookEndpoint | None = None, arrived_ms: int | None = None,
) -> Change | None:  # fmt: skip
    fourth = a_delivery(attempt=FAILING_ATTEMPT)
    return change_of(endpoint or an_endpoint(), health, delivery or fourth, made, arrived_ms)


def types_of(change: Change | None) -> list[str]:
    return [] if change is None else [event.type for event in change.events]


def test_the_fourth_failure_of_a_delivery_shows_it() -> None:
    assert told(a_call(), delivery=a_delivery(attempt=3)) is None
    change = told(a_call())
    assert types_of(change) == ["endpoint.failing"]
    assert change is not None
    assert change.health == failing()
    assert told(a_call(), health=change.health) is None  # it is known


def test_a_single_message_that_nobody_can_take_does_not_show_it() -> None:
    """Others arrive meanwhile: they were seen to, after this one came."""
    assert told(a_call(), arrived_ms=NOW_MS) is None
    assert told(a_call(), arrived_ms=NOW_MS - 1) is not None


def test_one_success_and_it_has_recovered() -> None:
    change = told(a_call(204), health=failing())
    assert types_of(change) == ["endpoint.recovered"]
    assert change is not None
    assert change.health is None
    assert told(a_call(204)) is None


def days_later(days: float, *, message_after_ms: int, status: int = 500) -> Change | None:
    now_ms = NOW_MS + round(days * DAY_MS)
    delivery = replace(a_delivery(), created_at_ms=NOW_MS + message_after_ms)
    return told(a_call(status, now_ms), health=failing(), delivery=delivery)


@pytest.mark.parametrize(("days", "message_after_ms", "disabled"), [
    (4.99, 4 * DAY_MS, False), (5, 4 * DAY_MS, True), (5, MESSAGES_APART_MS, True), (6.9, MESSAGES_APART_MS - 1, False),
])  # fmt: skip
def test_five_days_of_failures_only_and_two_messages_half_a_day_apart(
    days: float, message_after_ms: int, disabled: bool
) -> None:
    assert DISABLE_AFTER_MS == 5 * DAY_MS
    change = days_later(days, message_after_ms=message_after_ms)
    assert types_of(change) == (["endpoint.disabled"] if disabled else [])
    if disabled:
        assert change is not None
        assert change.health is not None
        assert (change.health.disabled_reason, change.health.failing_since) == ("failing", to_timestamp(NOW_MS))


def test_a_success_on_the_sixth_day_still_saves_it() -> None:
    assert types_of(days_later(6, message_after_ms=5 * DAY_MS, status=200)) == ["endpoint.recovered"]


def test_410_disables_at_once_and_is_no_news_to_those_who_have_heard() -> None:
    first = told(a_call(410), delivery=a_delivery(1))
    assert first is not None
    assert types_of(first) == ["endpoint.disabled"]
    assert told(a_call(410, NOW_MS + 1), delivery=a_delivery(2), health=first.health) is None


CALLS = [
    (status, NOW_MS + later_ms, a_delivery(number, attempt=FAILING_ATTEMPT))
    for status in (204, 410, 500, 503) for later_ms in (0, 1) for number in (1, 2)
]  # fmt: skip


def test_one_id_never_has_two_contents_whoever_sees_what() -> None:
    """Of calls in several processes, none of which has heard of another's: each says what it saw, by an id of its own."""
    events: list[Envelope[Payload]] = []
    for status, at_ms, delivery in CALLS * 2:  # each said again, too
        made = a_call(status, at_ms)
        for health in (None, failing(NOW_MS - 5), failing(NOW_MS - 6 * DAY_MS, NOW_MS - DAY_MS)):
            change = change_of(an_endpoint(), health, delivery, made, None)
            events += () if change is None else change.events
        if (event := exhausted_of(an_endpoint(), None, delivery, made)) is not None:
            events.append(event)
    assert {event.type for event in events} == {
        "endpoint.failing", "endpoint.recovered", "endpoint.disabled", "delivery.exhausted",
    }  # fmt: skip
    assert len({event.id for event in events}) == len({encode(event) for event in events})


def test_the_owner_enables_it_and_what_was_before_counts_no_more() -> None:
    gone = told(a_call(410))
    assert gone is not None
    assert as_it_stands(an_endpoint(), gone.health).disabled_reason == "gone"
    enabled = an_endpoint().model_copy(update={"enabled_at": to_timestamp(NOW_MS + 5)})
    assert as_it_stands(enabled, gone.health) == enabled
    again = told(a_call(410, NOW_MS + 6), health=gone.health, endpoint=enabled)
    assert again is not None
    assert again.events[0].id != gone.events[0].id  # another time, another event
    assert as_it_stands(enabled, again.health).disabled_at == to_timestamp(NOW_MS + 6)
    assert told(a_call(204, NOW_MS + 6), health=gone.health, endpoint=enabled) is None


@pytest.mark.parametrize("status", [204, 410, 500])
def test_a_test_call_says_nothing(status: int) -> None:
    test = replace(a_delivery(attempt=FAILING_ATTEMPT), cause="test")
    assert told(a_call(status), delivery=test, health=failing()) is None


async def test_many_that_fail_at_once_tell_it_once() -> None:
    world = World()
    keeper, deliveries = HealthKeeper(world), [a_delivery(number, attempt=FAILING_ATTEMPT) for number in range(5)]
    recorded = [keeper.told(an_endpoint(), delivery, a_call(), last=False) for delivery in deliveries]
    assert await asyncio.gather(*recorded) == [True] * 5
    assert [event.type for event in world.told] == ["endpoint.failing"]


async def test_exhausted_is_told_once_a_day_by_whoever_sees_it_first() -> None:
    """Also in another process, and after a restart: what was told stands in a table."""
    world = World(health=failing())
    for number, at_ms in ((1, NOW_MS), (2, NOW_MS + 1000), (3, NOW_MS + EXHAUSTED_WINDOW_MS), (4, NOW_MS + 2000)):
        keeper, last = HealthKeeper(world), a_delivery(number, attempt=10)
        calls = [keeper.told(an_endpoint(), last, a_call(at_ms=at_ms + wait), last=True) for wait in range(3)]
        assert await asyncio.gather(*calls) == [True] * 3
    assert [event.time for event in world.told] == [to_timestamp(NOW_MS), to_timestamp(NOW_MS + EXHAUSTED_WINDOW_MS)]


async def test_what_could_not_be_told_is_told_with_the_repeat_of_the_call() -> None:
    world = World(health=failing(), reachable=False)
    keeper, delivery = HealthKeeper(world), a_delivery(attempt=10)
    assert not await keeper.told(an_endpoint(), delivery, a_call(), last=True)
    world.reachable = True
    assert await keeper.told(an_endpoint(), delivery, a_call(), last=True)
    assert [event.type for event in world.told] == ["delivery.exhausted"]
