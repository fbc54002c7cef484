"""Which events a replay brings once more, and which of them have failed (R31)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import event_id, message_time_of, new_id
from schemas.envelope import encode, to_timestamp
from schemas.webhooks import LONGEST_REPLAY_MS, DeliveryCause, WebhookAttempt
from services.webhooks.domain.records import attempt_record, first_delivery, replayed_delivery
from services.webhooks.domain.replay import LATE_MS, Failed
from tests.unit.webhooks.made import NOW_MS, a_delivery, a_replay, an_endpoint, an_event
from tests.unit.webhooks.test_health import a_call, told

MESSAGE = new_id("msg", NOW_MS) + "012345"  # of the form that ids of messages have


def test_the_same_event_is_another_delivery_of_the_same_bytes_and_id() -> None:
    event, value = an_event(), encode(an_event())
    live = first_delivery(event, value, an_endpoint()).data
    made = [replayed_delivery(event, value, a_replay(number)).data for number in (1, 1, 2)]
    assert made[0] == made[1]
    assert len({live.id, made[0].id, made[2].id}) == 3
    assert {(data.event_id, data.body) for data in (live, *made)} == {(event.id, live.body)}
    assert (made[0].cause, made[0].replay_id, made[0].due_at_ms) == ("replay", "rpl_1", NOW_MS)


@pytest.mark.parametrize(("ago_ms", "wanted"), [(60_001, False), (60_000, True), (1, True), (0, False)])
def test_a_window_ends_before_its_end(ago_ms: int, wanted: bool) -> None:
    assert a_replay().wants(an_event(time_ms=NOW_MS - ago_ms), an_endpoint(created_ms=NOW_MS)) is wanted


@pytest.mark.parametrize(("asked", "events", "tags", "wanted"), [
    ([], ["*"], [], True), ([], ["message.bounced"], [], False), (["message.queued"], ["message.bounced"], [], True),
    (["message.*"], ["*"], [], True), (["message.bounced"], ["*"], [], False), ([], ["*"], ["news"], False),
    (["message.queued"], ["*"], ["news"], False), (["message.queued"], ["*"], ["code"], True),
])  # fmt: skip
def test_of_a_window_the_types_that_are_asked_for_and_always_the_endpoints_tags(
    asked: Sequence[str], events: Sequence[str], tags: Sequence[str], wanted: bool
) -> None:
    event = an_event(time_ms=NOW_MS - 1)
    assert a_replay(event_types=asked).wants(event, an_endpoint(events=events, tags=tags)) is wanted


def test_a_single_event_is_brought_whatever_the_filters_say_but_never_another_projects() -> None:
    replay = a_replay(event_id=an_event().id)
    deaf = an_endpoint(events=["message.bounced"], tags=["news"])
    assert replay.wants(an_event(time_ms=NOW_MS - 9 * 3_600_000), deaf)
    assert not replay.wants(an_event(2), deaf)
    assert not replay.wants(an_event(project="prj_2"), deaf)


def test_no_replay_calls_an_endpoint_about_itself() -> None:
    """Neither of a window nor of the one event: another endpoint's trouble is brought."""
    change = told(a_call(410, NOW_MS - 1))
    assert change is not None
    (disabled,) = change.events
    for replay in (a_replay(), a_replay(event_id=disabled.id)):
        assert not replay.wants(disabled, an_endpoint())
        assert replay.wants(disabled, an_endpoint("whk_2"))


def test_what_is_wanted_has_the_trait_that_is_looked_for_first() -> None:
    event = an_event(time_ms=NOW_MS - 1)
    assert a_replay().trait in encode(event)
    assert a_replay(event_id=event.id).trait in encode(event)
    assert a_replay(event_id="evt_1").trait not in encode(event)


def test_a_single_event_is_looked_for_from_its_messages_time_on() -> None:
    assert message_time_of(event_id(MESSAGE, 3)) == NOW_MS
    assert a_replay(event_id=event_id(MESSAGE, 3)).window_ms == (NOW_MS, NOW_MS + LATE_MS)
    assert message_time_of(new_id("evt", NOW_MS)) is None
    assert a_replay(event_id=new_id("evt", NOW_MS)).window_ms[0] == NOW_MS - LONGEST_REPLAY_MS


def an_attempt(
    number: int, status: int, *, attempt: int = 1, cause: DeliveryCause = "event", endpoint: str = "whk_1"
) -> WebhookAttempt:
    delivery = replace(a_delivery(number, endpoint=endpoint, attempt=attempt), cause=cause)
    return attempt_record(delivery, a_call(status), delivery.again(NOW_MS) if status >= 300 else None).data


ATTEMPTS = [
    an_attempt(1, 500), an_attempt(1, 500, attempt=2),  # failed
    an_attempt(2, 500), an_attempt(2, 204, attempt=2),  # arrived later
    an_attempt(3, 410), an_attempt(3, 204, cause="replay"),  # arrived by another delivery
    an_attempt(4, 204),
    an_attempt(5, 500, endpoint="whk_2"), an_attempt(6, 500, cause="test"),
    an_attempt(7, 500), an_attempt(7, 204, endpoint="whk_2"),  # failed here, arrived elsewhere
]  # fmt: skip


@given(st.permutations(ATTEMPTS))
def test_failed_is_what_has_not_arrived_by_any_delivery_in_whatever_order_it_is_read(
    said: list[WebhookAttempt],
) -> None:
    failed = Failed("whk_1")
    for attempt in said:
        failed.failure(attempt)
    for attempt in said:
        failed.arrival(attempt)
    assert failed.event_ids == {"evt_1", "evt_7"}


def test_progress_only_grows_and_what_is_read_to_its_end_is_left_out() -> None:
    begun = a_replay().with_left({"message-events/0": (0, 10), "message-events/1": (5, 5)}, matched=2)
    further = begun.with_left({"message-events/0": (10, 10)}, matched=3, queued=1)
    assert (a_replay().begun, begun.begun, begun.left) == (False, True, {"message-events/0": (0, 10)})
    assert (further.left, further.version, further.asked.matched, further.asked.queued) == ({}, 2, 5, 1)
    assert to_timestamp(further.asked_at_ms) == to_timestamp(NOW_MS)
