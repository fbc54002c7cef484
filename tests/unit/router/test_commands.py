"""Commands and their verdicts, holding and releasing, and what comes back after delivery (R6, R7, R23, R24)."""

from dataclasses import replace
from typing import Any

import pytest

from chassis.blob_keys import kept_until_ms
from chassis.ids import event_id
from schemas.envelope import to_timestamp
from schemas.events import MessageComplained, MessageUnsubscribed
from schemas.mail import Blob
from schemas.states import MessageState
from services.router.domain.decision import NOTHING, Given, HandOut, Listed
from services.router.domain.evolution import evolve
from services.router.domain.ladder import Ladder
from services.router.domain.message import decide
from tests.kit import router_inputs as make
from tests.unit.router.test_state_table import (
    CLOSED,
    CONTEXT,
    DEFERRED,
    HELD,
    HELD_UNKNOWN,
    ID,
    IN_FLIGHT,
    LADDER,
    LAST,
    LISTED,
    NOW,
    PARKED,
    SCHEDULED,
    made,
)


def then(state: MessageState, given: Given, **context: Any) -> MessageState:
    at = replace(CONTEXT, **context)
    return evolve(state, given, decide(state, given, at), at)


def test_a_cancelled_mail_says_by_whom_and_is_over() -> None:  # R7
    decision = decide(SCHEDULED, make.cancel(ID), CONTEXT)
    (event,) = decision.events
    assert event.model_dump()["by"] == "key_1"
    assert decision.reply is not None
    told = decision.reply.verdict
    assert (decision.reply.to, told.verdict, told.status, told.sequence) == ("ingest-1", "done", "cancelled", 3)
    ended = then(SCHEDULED, make.cancel(ID))
    assert (ended.content, ended.due_at_ms) == (None, None)
    assert decide(ended, make.due(ID, "schedule"), replace(CONTEXT, landed_ms=NOW + 10**9)) is NOTHING


def test_cancel_against_due_is_decided_by_the_order_of_the_log() -> None:  # R7, D23
    at: dict[str, Any] = {"landed_ms": NOW + 10**7, "now_ms": NOW + 10**7}
    due_first = then(then(SCHEDULED, make.due(ID, "schedule"), **at), make.cancel(ID), **at)
    assert (due_first.status, due_first.in_flight) == ("accepted", True)
    assert [told["reason"] for told in due_first.verdicts] == ["being_sent"]
    cancel_first = then(SCHEDULED, make.cancel(ID), **at)
    assert decide(cancel_first, make.due(ID, "schedule"), replace(CONTEXT, **at)) is NOTHING


def test_the_same_request_gets_the_same_verdict_whatever_has_happened_since() -> None:  # R7
    refused = then(IN_FLIGHT, make.cancel(ID))
    deferred = then(refused, make.temporary(ID))
    again = decide(deferred, make.cancel(ID, to="ingest-2"), CONTEXT)
    assert (again.events, again.reply and again.reply.to) == ((), "ingest-2")
    assert again.reply is not None
    assert (again.reply.verdict.verdict, again.reply.verdict.reason) == ("refused", "being_sent")
    assert made(decide(deferred, make.cancel(ID, "req_9"), CONTEXT)) == "cancelled done"
    assert then(deferred, make.cancel(ID, to="ingest-2")).verdicts == deferred.verdicts


def test_eight_verdicts_are_kept() -> None:
    state = IN_FLIGHT
    for number in range(10):
        state = then(state, make.cancel(ID, f"req_{number}"))
    assert [told["request_id"] for told in state.verdicts] == [f"req_{number}" for number in range(2, 10)]
    assert then(state, make.delivered(ID)).verdicts == state.verdicts  # of a closed message, too


def test_a_refusal_changes_nothing_but_what_is_remembered() -> None:
    for state in (PARKED, IN_FLIGHT, HELD_UNKNOWN, *CLOSED.values()):
        after = then(state, make.reschedule(ID, NOW), now_ms=NOW + 10**9, offset=99)
        assert after == state.model_copy(update={"verdicts": after.verdicts, "input_offset": 99})


def test_hold_means_that_a_person_decides_about_the_second_copy() -> None:  # R23
    held = HELD_UNKNOWN
    assert (held.status, held.reason, held.attempt, held.content) == ("held", "held_unknown", 2, make.content())
    decision = decide(IN_FLIGHT.model_copy(update={"on_unknown": "hold"}), make.unknown(ID), CONTEXT)
    said, event = (event.model_dump() for event in decision.events)
    assert (said["status"], said["reason"], said["next_attempt_at"]) == ("unknown", "held_unknown", None)
    assert (event["status"], event["source_event_id"]) == ("held", event_id(ID, 3))
    released = then(held, make.release(ID))
    assert (released.status, released.attempt, released.in_flight) == ("accepted", 2, True)
    last = LAST.model_copy(update={"on_unknown": "hold"})
    assert made(decide(last, make.unknown(ID, 6), CONTEXT)) == "bounced"  # nothing is left to release


def test_a_late_truth_about_a_held_unknown_counts() -> None:  # R23
    late = then(HELD_UNKNOWN, make.temporary(ID))
    assert (late.status, late.reason, late.attempt) == ("deferred", "retry_ladder", 2)
    assert late.due_at_ms == NOW + LADDER.waits_ms[0]
    assert then(HELD_UNKNOWN, make.delivered(ID)).status == "delivered"


def test_what_an_internal_error_held_goes_on_where_it_was() -> None:
    again = then(HELD, make.release(ID))
    assert (again.status, again.attempt, again.reason, again.content) == ("accepted", 2, None, make.content())
    bare = decide(PARKED, make.release(ID), replace(CONTEXT, submitted=None))
    assert made(bare) == "refused no_content"
    read_again = replace(CONTEXT, submitted=make.content())
    assert decide(PARKED, make.release(ID), read_again).hand_out == HandOut(1, 2)
    crowded = replace(read_again, room=False)
    waiting = evolve(PARKED, make.release(ID), decide(PARKED, make.release(ID), crowded), crowded)
    assert (waiting.status, waiting.reason, waiting.content) == ("accepted", "admission", make.content())


KEPT_UNTIL = kept_until_ms("2026-12-01/sub_1/x")
LARGE = make.content().model_copy(update={"blob": Blob(key="2026-12-01/sub_1/x", sha256="x", size=1)})


def test_a_new_time_at_or_after_the_end_is_refused_and_the_old_one_stands() -> None:  # R2, R6
    ends = SCHEDULED.model_copy(update={"deliver_before_ms": NOW + 10**7})
    for time_ms, expected in (
        (NOW + 10**7 - 1, "rescheduled done"),
        (NOW + 10**7, "refused after_deliver_before"),
        (NOW + 10**8, "refused after_deliver_before"),
    ):
        decision = decide(ends, make.reschedule(ID, time_ms), CONTEXT)
        assert made(decision) == expected
        assert decision.reply is not None
        assert decision.reply.verdict.scheduled_ms == (time_ms if "done" in expected else ends.scheduled_ms)


def test_a_new_time_at_which_the_content_is_gone_is_refused() -> None:  # R5, R6
    large = SCHEDULED.model_copy(update={"content": LARGE})
    assert made(decide(large, make.reschedule(ID, KEPT_UNTIL - 1), CONTEXT)) == "rescheduled done"
    assert made(decide(large, make.reschedule(ID, KEPT_UNTIL), CONTEXT)) == "refused content_not_kept"
    assert made(decide(SCHEDULED, make.reschedule(ID, KEPT_UNTIL), CONTEXT)) == "rescheduled done"


def test_what_was_held_until_its_content_was_gone_is_not_released() -> None:  # R5
    for state, submitted in ((HELD.model_copy(update={"content": LARGE}), None), (PARKED, LARGE)):
        before = replace(CONTEXT, now_ms=KEPT_UNTIL - 1, submitted=submitted)
        assert decide(state, make.release(ID), before).hand_out is not None
        after = replace(CONTEXT, now_ms=KEPT_UNTIL, submitted=submitted)
        assert made(decide(state, make.release(ID), after)) == "refused no_content"
    foreign = LARGE.model_copy(update={"blob": Blob(key="x", sha256="x", size=1)})  # nobody sweeps it
    assert decide(HELD.model_copy(update={"content": foreign}), make.release(ID), CONTEXT).hand_out is not None


def test_a_late_truth_after_the_ladder_became_shorter_is_the_last() -> None:  # R22
    assert made(decide(HELD_UNKNOWN, make.temporary(ID), replace(CONTEXT, ladder=Ladder(())))) == "bounced"


@pytest.mark.parametrize("kind", ["complaint", "unsubscribe"])
@pytest.mark.parametrize(
    ("state", "reason", "next_ms"),
    [
        (DEFERRED, "retry_ladder", DEFERRED.due_at_ms),
        (DEFERRED.model_copy(update={"deliver_before_ms": NOW + 1}), "retry_ladder", NOW + 1),
        (SCHEDULED, "scheduled", SCHEDULED.due_at_ms),
        (HELD_UNKNOWN, "held_unknown", None),
        (IN_FLIGHT, None, None),
        (CLOSED["delivered"], None, None),
    ],
)
def test_a_report_says_what_the_message_waits_for(
    kind: str, state: MessageState, reason: str | None, next_ms: int | None
) -> None:  # R24, R30
    (event,) = decide(state, make.feedback(ID, kind), CONTEXT).events
    assert isinstance(event, MessageComplained | MessageUnsubscribed)
    assert (event.reason, event.next_attempt_at) == (reason, None if next_ms is None else to_timestamp(next_ms))


def test_a_release_starts_nothing_that_must_not_start() -> None:  # R2, R11
    listed = replace(CONTEXT, listed=LISTED)
    assert made(decide(HELD, make.release(ID), listed)) == "suppressed refused suppressed"
    late = HELD.model_copy(update={"deliver_before_ms": NOW})
    assert made(decide(late, make.release(ID), CONTEXT)) == "expired refused expired"


@pytest.mark.parametrize(
    ("kind", "status", "origin"),
    [("bounce", "bounced", "bounce"), ("complaint", "delivered", "complaint"), ("unsubscribe", "delivered", None)],
)
def test_what_comes_back_after_delivery_is_told_once(kind: str, status: str, origin: str | None) -> None:  # R24
    report = make.feedback(ID, kind)
    decision = decide(CLOSED["delivered"], report, CONTEXT)
    (event,) = decision.events
    assert event.model_dump()["feedback"]["provider"] == "example.org"
    assert (event.status, decision.suppress) == (status, origin)
    known = evolve(CLOSED["delivered"], report, decision, replace(CONTEXT, now_ms=NOW + 10**9))
    assert (known.status, known.closed_at_ms) == (status, CLOSED["delivered"].closed_at_ms)
    assert decide(known, report, CONTEXT) is NOTHING
    assert decide(None, report, CONTEXT) is NOTHING


def test_a_complaint_while_an_attempt_runs_leaves_it_running() -> None:
    known = then(IN_FLIGHT, make.feedback(ID, "complaint"))
    assert (known.in_flight, known.status, known.sequence) == (True, "accepted", 3)
    assert then(DEFERRED, make.feedback(ID, "unsubscribe")).due_at_ms == DEFERRED.due_at_ms


def test_a_link_that_is_followed_a_thousand_times_fills_no_record() -> None:
    state = CLOSED["delivered"]
    for number in range(1000):
        report = make.feedback(ID, "unsubscribe", f"fbk_{number}")
        decision = decide(state, report, CONTEXT)
        state = state if decision is NOTHING else evolve(state, report, decision, CONTEXT)
    assert len(state.feedback_ids) == 16


def test_a_listed_recipient_keeps_a_scheduled_mail_from_going_out() -> None:  # R11
    at = replace(CONTEXT, listed=Listed("unsubscribed", "evt_1"), landed_ms=NOW + 10**7)
    assert made(decide(SCHEDULED, make.due(ID, "schedule"), at)) == "suppressed"
