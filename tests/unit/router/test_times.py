"""Scheduling and expiry: nothing early, nothing after its time, and what a timer of yesterday may still do (R2, R6; D22, D24)."""

from dataclasses import replace

import pytest

from schemas.envelope import to_timestamp
from schemas.mail import TERMINAL
from schemas.states import MessageState
from services.router.domain.decision import NOTHING, HandOut, Listed
from services.router.domain.evolution import evolve
from services.router.domain.message import decide
from services.router.domain.timers import TimerKind, next_timer
from tests.kit import router_inputs as make
from tests.unit.router.test_state_table import CONTEXT, HELD, HOUR, ID, NOW, PARKED, SCHEDULED, after, made

LATER = NOW + HOUR


def timer_of(state: MessageState) -> tuple[TimerKind, int] | None:
    return next_timer(
        status=state.status,
        in_flight=state.in_flight,
        reason=state.reason,
        due_at_ms=state.due_at_ms,
        deliver_before_ms=state.deliver_before_ms,
        first_dispatched_at_ms=state.first_dispatched_at_ms,
        closed=state.closed_at_ms is not None,
    )


def test_a_scheduled_mail_waits_with_its_content_until_its_time() -> None:  # R6
    decision = decide(None, make.submit(ID, scheduled_ms=LATER), replace(CONTEXT, room=False))
    queued, scheduled = (event.model_dump() for event in decision.events)
    assert (queued["status"], queued["scheduled_time"]) == ("queued", to_timestamp(LATER))
    assert (scheduled["status"], scheduled["reason"]) == ("scheduled", "scheduled")
    assert scheduled["scheduled_time"] == scheduled["next_attempt_at"] == to_timestamp(LATER)
    assert (SCHEDULED.content, SCHEDULED.in_flight, SCHEDULED.scheduled_ms) == (make.content(), False, LATER)
    assert SCHEDULED.rank_ms == LATER  # behind who has waited since before
    assert timer_of(SCHEDULED) == ("schedule", LATER)


@pytest.mark.parametrize("ahead", [-HOUR, 0, 1_000])
def test_a_time_that_has_come_or_nearly_is_now(ahead: int) -> None:  # D24
    decision = decide(None, make.submit(ID, scheduled_ms=NOW + ahead), CONTEXT)
    assert [event.status for event in decision.events] == ["queued", "accepted"]
    assert decision.hand_out == HandOut(1, 1)


@pytest.mark.parametrize(("landed_ms", "expected"), [(LATER - 1, None), (LATER, "accepted")])
def test_a_schedule_is_never_early_by_the_brokers_clock(landed_ms: int, expected: str | None) -> None:  # D24
    context = replace(CONTEXT, landed_ms=landed_ms, now_ms=LATER + HOUR)
    assert made(decide(SCHEDULED, make.due(ID, "schedule"), context)) == expected


def test_when_its_time_has_come_it_is_checked_again_and_may_have_to_wait() -> None:  # R10, R11
    due, at = make.due(ID, "schedule"), replace(CONTEXT, landed_ms=LATER, now_ms=LATER)
    assert made(decide(SCHEDULED, due, replace(at, listed=Listed("manual", None)))) == "suppressed"
    crowded = replace(at, room=False)
    decision = decide(SCHEDULED, due, crowded)
    waiting = evolve(SCHEDULED, due, decision, crowded)
    assert (waiting.status, waiting.reason, waiting.content) == ("accepted", "admission", make.content())


def test_a_listed_recipient_is_told_at_once() -> None:  # R11
    decision = decide(None, make.submit(ID, scheduled_ms=LATER), replace(CONTEXT, listed=Listed("manual", None)))
    assert made(decision) == "suppressed"


def test_the_timer_of_the_time_before_it_was_moved_changes_nothing() -> None:  # R6
    move = make.reschedule(ID, LATER + HOUR)
    decision = decide(SCHEDULED, move, CONTEXT)
    moved = evolve(SCHEDULED, move, decision, CONTEXT)
    (event,) = decision.events
    assert event.model_dump()["next_attempt_at"] == to_timestamp(LATER + HOUR)
    assert (moved.scheduled_ms, moved.due_at_ms, moved.rank_ms) == (LATER + HOUR,) * 3
    assert moved.content == make.content()
    at_the_old_time = replace(CONTEXT, landed_ms=LATER, now_ms=LATER)
    assert decide(moved, make.due(ID, "schedule"), at_the_old_time) is NOTHING


def test_a_submission_that_comes_after_its_time_expires_at_once() -> None:  # R2
    decision = decide(None, make.submit(ID, deliver_before_ms=NOW), CONTEXT)
    queued, expired = (event.model_dump() for event in decision.events)
    assert (queued["deliver_before"], expired["status"], expired["by"]) == (to_timestamp(NOW), "expired", "router")


WAITING = {
    "scheduled": after(make.submit(ID, scheduled_ms=LATER, deliver_before_ms=LATER)),
    "admission": after(make.submit(ID, deliver_before_ms=LATER), at=replace(CONTEXT, room=False)),
    "deferred": after(make.submit(ID, deliver_before_ms=LATER), make.temporary(ID)),
    "unknown": after(make.submit(ID, deliver_before_ms=LATER), make.unknown(ID)),
    "held": HELD.model_copy(update={"deliver_before_ms": LATER}),
    "held_unknown": after(make.submit(ID, deliver_before_ms=LATER, on_unknown="hold"), make.unknown(ID)),
}


@pytest.mark.parametrize("where", WAITING)
def test_whatever_waits_ends_at_its_deliver_before(where: str) -> None:  # R2
    state = WAITING[where]
    assert timer_of(state) == ("expiry", LATER)
    timer = make.due(ID, "expiry", state.attempt, state.dispatch)
    early = replace(CONTEXT, landed_ms=LATER - 1, now_ms=LATER - 1)
    assert decide(state, timer, early) is NOTHING
    at = replace(CONTEXT, landed_ms=LATER, now_ms=LATER)
    decision = decide(state, timer, at)
    ended = evolve(state, timer, decision, at)
    assert (made(decision), ended.status in TERMINAL, ended.content) == ("expired", True, None)


def test_no_other_timer_hands_out_what_has_expired() -> None:
    at = replace(CONTEXT, landed_ms=LATER + HOUR, now_ms=LATER + HOUR)
    for where, kind in (("scheduled", "schedule"), ("admission", "admission"), ("deferred", "retry")):
        state = WAITING[where].model_copy(update={"due_at_ms": LATER + HOUR})
        assert made(decide(state, make.due(ID, kind, state.attempt), at)) == "expired", where


def test_a_next_attempt_after_the_end_is_told_as_the_end() -> None:
    state = after(make.submit(ID, deliver_before_ms=NOW + 10_000))
    for given in (make.temporary(ID), make.unknown(ID)):
        decision = decide(state, given, CONTEXT)
        assert decision.events[0].model_dump()["next_attempt_at"] == to_timestamp(NOW + 10_000)
        assert timer_of(evolve(state, given, decision, CONTEXT)) == ("expiry", NOW + 10_000)


def test_what_may_be_on_its_way_does_not_expire_here() -> None:
    """Its sender looks right before DATA; a report of what it did must still count."""
    flying = after(make.submit(ID, deliver_before_ms=NOW + 10_000))
    assert timer_of(flying) == ("watchdog", NOW + HOUR)
    at = replace(CONTEXT, landed_ms=NOW + HOUR, now_ms=NOW + HOUR)
    assert decide(flying, make.due(ID, "expiry"), at) is NOTHING
    assert made(decide(flying, make.due(ID, "watchdog"), replace(at, submitted=make.content()))) == "out 1.2"
    parked = PARKED.model_copy(update={"deliver_before_ms": NOW + 10_000})
    assert timer_of(parked) is None
    assert decide(parked, make.due(ID, "expiry", parked.attempt, parked.dispatch), at) is NOTHING


def test_the_earlier_timer_counts() -> None:
    first = after(make.submit(ID, scheduled_ms=LATER, deliver_before_ms=LATER + 1))
    assert timer_of(first) == ("schedule", LATER)
    deferred = after(make.submit(ID, deliver_before_ms=LATER), make.temporary(ID))
    assert timer_of(deferred.model_copy(update={"due_at_ms": NOW + 30_000})) == ("retry", NOW + 30_000)
