"""Every status against every input: the table of the architecture, section 2, line by line (R22, R23, R24)."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from rules.routing import Chosen
from schemas.inputs import Recheck
from schemas.mail import TERMINAL, Status
from schemas.states import MessageState
from services.router.domain.decision import NOTHING, Context, Decision, Given, HandOut, Listed, Unreadable
from services.router.domain.evolution import evolve
from services.router.domain.ladder import Ladder
from services.router.domain.message import decide
from services.router.domain.transitions import FOLLOWS, IllegalTransition, follow
from tests.kit import router_inputs as make

ID = make.message_id()
NOW = make.START_MS
LADDER = Ladder((30_000, 300_000, 1_800_000, 7_200_000, 18_000_000))
DAY = 86_400_000
CONTEXT = Context(
    now_ms=NOW,
    offset=0,
    landed_ms=NOW,
    listed=None,
    checked_at_ms=NOW,
    room=True,
    ladder=LADDER,
    jitter=0,
    route=Chosen(None, None, "upstream", "main", None),
    watchdog_ms=3_600_000,
)
LISTED = Listed("manual", None)


def after(*given: Given, at: Context = CONTEXT) -> MessageState:
    state: MessageState | None = None
    for offset, one in enumerate(given):
        context = replace(at, offset=offset, landed_ms=at.landed_ms + offset * DAY, now_ms=at.now_ms + offset * DAY)
        decision = decide(state, one, context)
        assert decision is not NOTHING
        state = evolve(state, one, decision, context)
    assert state is not None
    return state


HOUR = 3_600_000
IN_FLIGHT = after(make.submit(ID))
QUEUED_FOR_ADMISSION = after(make.submit(ID), at=replace(CONTEXT, room=False))
POSTPONED = after(make.submit(ID), make.postponed(ID, until_ms=NOW))
DEFERRED = after(make.submit(ID), make.temporary(ID))
UNKNOWN = after(make.submit(ID), make.unknown(ID))
RESENT = after(make.submit(ID), make.unknown(ID), make.due(ID, "retry", 2))
PARKED = after(make.submit(ID), Unreadable(ID, "dlq/0/1"))
HELD = after(make.submit(ID), make.temporary(ID), Unreadable(ID, "dlq/0/1"))
HELD_UNKNOWN = after(make.submit(ID, on_unknown="hold"), make.unknown(ID))
LAST = after(make.submit(ID)).model_copy(update={"attempt": 6})
SCHEDULED = after(make.submit(ID, scheduled_ms=NOW + HOUR))
CLOSED = {
    "delivered": after(make.submit(ID), make.delivered(ID)),
    "bounced": after(make.submit(ID), make.permanent(ID)),
    "suppressed": after(make.submit(ID), make.refused(ID)),
    "cancelled": after(make.submit(ID, scheduled_ms=NOW + HOUR), make.cancel(ID, "req_0")),
    "expired": after(make.submit(ID), make.too_late(ID)),
}

INPUTS: dict[str, Given] = {
    "submit": make.submit(ID),
    "delivered": make.delivered(ID),
    "temporary": make.temporary(ID),
    "permanent": make.permanent(ID),
    "unknown": make.unknown(ID),
    "postponed": make.postponed(ID, until_ms=NOW + 60_000),
    "refused": make.refused(ID),
    "too late": make.too_late(ID),
    "retry": make.due(ID, "retry"),
    "retry 2": make.due(ID, "retry", 2),
    "retry 1.2": make.due(ID, "retry", 1, 2),
    "admission": make.due(ID, "admission"),
    "watchdog": make.due(ID, "watchdog"),
    "schedule": make.due(ID, "schedule"),
    "expiry": make.due(ID, "expiry"),
    "expiry 2": make.due(ID, "expiry", 2),
    "recheck": Recheck(message_id=ID, suppression_id="sup_1"),
    "poison": Unreadable(ID, "dlq/0/7"),
    "cancel": make.cancel(ID),
    "reschedule": make.reschedule(ID, NOW + 20 * DAY),
    "release": make.release(ID),
    "bounce": make.feedback(ID, "bounce"),
    "complaint": make.feedback(ID, "complaint"),
    "unsubscribe": make.feedback(ID, "unsubscribe"),
}
_TOLD = {"complaint": "complained", "unsubscribe": "unsubscribed"}  # at any time, and the status stays
_STOPS = {"recheck": "suppressed", "poison": "held", "cancel": "cancelled done"}
# What each input makes of a message: its new status, or what happens without an event, and the verdict on a command. What
# is not named changes nothing.
MADE: dict[str, tuple[MessageState | None, dict[str, str]]] = {
    "nobody": (
        None,
        {
            "submit": "accepted",
            "poison": "held",
            **dict.fromkeys(("cancel", "reschedule", "release"), "unknown_message"),
        },
    ),
    "scheduled": (
        SCHEDULED,
        _TOLD | _STOPS | {"schedule": "accepted", "reschedule": "rescheduled done", "release": "refused not_held"},
    ),
    "in flight": (
        IN_FLIGHT,
        _TOLD
        | {
            "delivered": "delivered",
            "temporary": "deferred",
            "permanent": "bounced",
            "unknown": "unknown",
            "postponed": "waiting",
            "refused": "suppressed",
            "too late": "expired",
            "watchdog": "out 1.2",
            "poison": "held",
            "cancel": "refused being_sent",
            "reschedule": "refused not_scheduled",
            "release": "refused not_held",
            "bounce": "bounced",  # faster than the outcome
        },
    ),
    "waits for admission": (
        QUEUED_FOR_ADMISSION,
        _TOLD | _STOPS | {"admission": "out 1.1", "reschedule": "refused not_scheduled", "release": "refused not_held"},
    ),
    "postponed": (
        POSTPONED,
        _TOLD
        | _STOPS
        | {
            # The first hand-out ran after all (a frozen sender woke): the truth about the attempt.
            "delivered": "delivered",
            "temporary": "deferred",
            "permanent": "bounced",
            "unknown": "unknown",
            "retry 1.2": "out 1.2",
            "reschedule": "refused not_scheduled",
            "release": "refused not_held",
        },
    ),
    "deferred": (
        DEFERRED,
        _TOLD | _STOPS | {"retry 2": "out 2.1", "reschedule": "refused not_scheduled", "release": "refused not_held"},
    ),
    "unknown": (
        UNKNOWN,
        _TOLD
        | _STOPS
        | {
            "delivered": "delivered",
            "temporary": "deferred",
            "permanent": "bounced",
            "retry 2": "out 2.1",
            "reschedule": "refused not_scheduled",
            "release": "refused not_held",
            "bounce": "bounced",  # of the copy that nobody knew of
        },
    ),
    "resent after unknown": (
        RESENT,
        _TOLD
        | {
            "delivered": "delivered",
            "poison": "held",
            "cancel": "refused being_sent",
            "reschedule": "refused not_scheduled",
            "release": "refused not_held",
            "bounce": "bounced",
        },
    ),
    "held while in flight": (
        PARKED,
        _TOLD
        | {
            "delivered": "delivered",
            "permanent": "bounced",
            "recheck": "suppressed",
            "cancel": "refused being_sent",
            "reschedule": "refused not_scheduled",
            "release": "accepted done",
        },
    ),
    "held": (
        HELD,
        _TOLD
        | {
            "recheck": "suppressed",
            "cancel": "cancelled done",
            "reschedule": "refused not_scheduled",
            "release": "accepted done",
        },
    ),
    "held for the unknown": (
        HELD_UNKNOWN,
        _TOLD
        | {
            "delivered": "delivered",
            "temporary": "deferred",
            "permanent": "bounced",
            "recheck": "suppressed",
            "cancel": "cancelled done",
            "reschedule": "refused not_scheduled",
            "release": "accepted done",
            "bounce": "bounced",
        },
    ),
    "delivered": (
        CLOSED["delivered"],
        _TOLD
        | {
            "bounce": "bounced",
            "cancel": "refused already_sent",
            "reschedule": "refused not_scheduled",
            "release": "refused not_held",
        },
    ),
    **{
        status: (
            CLOSED[status],
            _TOLD
            | {
                "cancel": "done" if status == "cancelled" else f"refused {status}",
                "reschedule": "refused not_scheduled",
                "release": "refused not_held",
            },
        )
        for status in ("bounced", "suppressed", "cancelled", "expired")
    },
}
CASES = [(name, given) for name in MADE for given in INPUTS]


def made(decision: Decision) -> str | None:
    words: list[str] = []
    if decision.events:
        words.append(decision.events[-1].TYPE.removeprefix("message."))
    elif decision.hand_out is not None:
        words.append(f"out {decision.hand_out.attempt}.{decision.hand_out.dispatch}")
    elif decision.wait is not None:
        words.append(f"waits {decision.wait.reason}")
    if decision.reply is not None:
        told = decision.reply.verdict
        words += [told.verdict, *([] if told.reason is None else [told.reason])]
    return " ".join(words) or None


@pytest.mark.parametrize(("where", "given"), CASES)
def test_every_status_meets_every_input(where: str, given: str) -> None:
    state, expected = MADE[where]
    later = replace(CONTEXT, offset=9, now_ms=NOW + 9 * DAY, landed_ms=NOW + 9 * DAY, submitted=make.content())
    context = replace(later, listed=LISTED) if given == "recheck" else later
    decision = decide(state, INPUTS[given], context)
    assert made(decision) == expected.get(given)
    if decision is not NOTHING and (state is not None or decision.events):
        follows = evolve(state, INPUTS[given], decision, context)
        assert (follows.closed_at_ms is not None) == (follows.status in TERMINAL)
        assert follows.sequence == (0 if state is None else state.sequence) + len(decision.events)


def test_the_table_knows_every_status_and_leaves_none_that_is_terminal() -> None:
    assert set(FOLLOWS) == {None, *get_args(Status)}
    assert {status for status, next_ones in FOLLOWS.items() if not next_ones - {"bounced"}} == TERMINAL
    assert FOLLOWS["delivered"] == {"bounced"}  # by a report that comes later


def test_a_decision_against_the_table_is_a_bug_and_stops() -> None:
    with pytest.raises(IllegalTransition):
        follow("delivered", "deferred")


def test_a_submit_that_landed_after_its_deadline_is_void() -> None:
    late = make.submit(ID, valid_until_ms=NOW - 1)
    assert decide(None, late, CONTEXT) is NOTHING
    assert decide(None, make.submit(ID, valid_until_ms=NOW), CONTEXT) is not NOTHING


def test_a_listed_recipient_is_suppressed_before_anything_goes_out() -> None:  # R11
    decision = decide(None, make.submit(ID), replace(CONTEXT, listed=Listed("hard_bounce", "evt_1")))
    assert [event.status for event in decision.events] == ["queued", "suppressed"]
    assert decision.hand_out is None
    assert decision.events[-1].model_dump()["source_event_id"] == "evt_1"


@pytest.mark.parametrize(("state", "kind", "attempt"), [(DEFERRED, "retry", 2), (QUEUED_FOR_ADMISSION, "admission", 1)])
def test_a_recipient_listed_while_the_mail_waited_gets_none(
    state: MessageState, kind: str, attempt: int
) -> None:  # R11
    context = replace(CONTEXT, listed=LISTED, landed_ms=NOW + 2 * DAY)
    assert made(decide(state, make.due(ID, kind, attempt), context)) == "suppressed"


def test_without_room_what_is_due_waits_for_admission_and_keeps_its_rank() -> None:
    context = replace(CONTEXT, room=False, landed_ms=NOW + 2 * DAY)
    retry = make.due(ID, "retry", 2)
    decision = decide(DEFERRED, retry, context)
    assert made(decision) == "waits admission"
    waiting = evolve(DEFERRED, retry, decision, context)
    assert (waiting.reason, waiting.due_at_ms, waiting.content) == ("admission", None, make.content())
    assert waiting.rank_ms == DEFERRED.due_at_ms  # deferred mail re-enters at its due time
    assert POSTPONED.rank_ms == IN_FLIGHT.rank_ms  # postponed mail keeps its place


def test_a_timer_that_came_before_its_time_is_not_believed() -> None:  # D24
    early = replace(CONTEXT, landed_ms=(DEFERRED.due_at_ms or 0) - 5_000)
    assert decide(DEFERRED, make.due(ID, "retry", 2), early) is NOTHING


def test_an_attempt_goes_out_thin_and_what_waits_keeps_its_content_until_it_is_closed() -> None:
    assert IN_FLIGHT.content is None
    for state in (QUEUED_FOR_ADMISSION, POSTPONED, DEFERRED, UNKNOWN, RESENT):
        assert state.content == make.content()
    for state in CLOSED.values():
        assert state.content is None


def test_the_sixth_attempt_is_the_last() -> None:  # R22, R23
    for given, category in (
        (make.temporary(ID, 6), "transient"),
        (make.unknown(ID, 6), "unknown"),
    ):
        (event,) = decide(LAST, given, CONTEXT).events
        assert (event.status, event.model_dump()["category"]) == ("bounced", category)


@pytest.mark.parametrize(("category", "suppress"), [("invalid_recipient", "bounce"), ("rejected", None)])
def test_only_proof_about_the_recipient_suppresses(category: Any, suppress: str | None) -> None:  # R11
    assert decide(IN_FLIGHT, make.permanent(ID, category=category), CONTEXT).suppress == suppress


def test_a_late_delivery_is_the_truth_and_the_resent_attempt_then_changes_nothing() -> None:  # R23
    late = make.delivered(ID, 1)
    decision = decide(RESENT, late, CONTEXT)
    assert made(decision) == "delivered"
    closed = evolve(RESENT, late, decision, CONTEXT)
    assert not closed.in_flight
    for outcome in (make.delivered(ID, 2), make.temporary(ID, 2), make.permanent(ID, 2), make.unknown(ID, 2)):
        assert decide(closed, outcome, CONTEXT) is NOTHING


def test_an_unknown_for_a_known_outcome_is_ignored() -> None:
    assert decide(DEFERRED, make.unknown(ID, 1), CONTEXT) is NOTHING


def test_a_late_temporary_corrects_the_word_and_not_the_time() -> None:
    late = make.temporary(ID, 1)
    decision = decide(UNKNOWN, late, CONTEXT)
    corrected = evolve(UNKNOWN, late, decision, CONTEXT)
    assert (corrected.status, corrected.due_at_ms, corrected.attempt) == ("deferred", UNKNOWN.due_at_ms, 2)
    assert corrected.unknown_attempts == []
    assert decide(corrected, late, CONTEXT) is NOTHING


def test_an_overdue_attempt_is_handed_out_again_with_what_its_submit_says() -> None:
    hour = replace(CONTEXT, landed_ms=NOW + 3_600_000, submitted=make.content("again"))
    watchdog = make.due(ID, "watchdog")
    decision = decide(IN_FLIGHT, watchdog, hour)
    assert decision.hand_out == HandOut(1, 2)
    again = evolve(IN_FLIGHT, watchdog, decision, hour)
    assert again.content == make.content("again")
    assert again.first_dispatched_at_ms == IN_FLIGHT.first_dispatched_at_ms  # how far back its journal lies


def test_an_overdue_attempt_whose_content_is_gone_is_held() -> None:
    hour = replace(CONTEXT, landed_ms=NOW + 3_600_000)
    assert made(decide(IN_FLIGHT, make.due(ID, "watchdog"), hour)) == "held"


def test_poison_of_a_message_nobody_knows_is_held_with_what_is_known() -> None:  # D26
    poison = Unreadable(ID, "dlq.router.x/0/5")
    decision = decide(None, poison, CONTEXT)
    (event,) = decision.events
    fields = event.model_dump()
    assert (fields["reason"], fields["source_event_id"], fields["recipient"]) == (
        "internal_error",
        "dlq.router.x/0/5",
        "",
    )
    state = evolve(None, poison, decision, CONTEXT)
    assert decide(state, make.submit(ID), CONTEXT) is NOTHING


def test_the_whole_ladder_is_six_attempts_with_the_documented_gaps_then_one_bounce() -> None:  # R22, D31
    state, now, gaps, statuses = after(make.submit(ID)), NOW, [], []
    for attempt in range(1, 7):
        context = replace(CONTEXT, now_ms=now, landed_ms=now)
        failed = make.temporary(ID, attempt)
        decision = decide(state, failed, context)
        state = evolve(state, failed, decision, context)
        statuses.append(state.status)
        if state.due_at_ms is None:
            break
        gaps.append(state.due_at_ms - now)
        now = state.due_at_ms
        timer, context = make.due(ID, "retry", attempt + 1), replace(CONTEXT, now_ms=now, landed_ms=now)
        state = evolve(state, timer, decide(state, timer, context), context)
        assert (state.attempt, state.in_flight) == (attempt + 1, True)
    assert gaps == [30_000, 300_000, 1_800_000, 7_200_000, 18_000_000]
    assert statuses == ["deferred"] * 5 + ["bounced"]
