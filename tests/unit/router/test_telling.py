"""What a message waits for is told when its readers could not know it (R36): by an event, once, and not at each turn."""

from dataclasses import replace

from rules.routing import Chosen
from schemas.envelope import to_timestamp
from schemas.events import MessageAccepted, MessageBounced, MessageDeferred, MessageWaiting
from schemas.mail import Attempt
from schemas.routing import PolicyUse
from services.router.domain.decision import Context, Decision, Given
from services.router.domain.evolution import evolve
from services.router.domain.message import decide
from tests.kit import router_inputs as make
from tests.unit.router.test_state_table import CONTEXT, DAY, DEFERRED, ID, IN_FLIGHT, LADDER, NOW, after

LATER = replace(CONTEXT, now_ms=NOW + 2 * DAY, landed_ms=NOW + 2 * DAY, submitted=make.content())
PAUSED = replace(LATER, stopped="destination_paused")
USE = PolicyUse(term="retry_schedule", policy_id="pol_1", version=3)


def reasons(*steps: tuple[Given, Context]) -> list[str | None]:
    """What each step tells of a message in flight that it waits for."""
    state, found = IN_FLIGHT, list[str | None]()
    for offset, (given, context) in enumerate(steps, 1):
        decision = decide(state, given, context)
        state = evolve(state, given, decision, replace(context, offset=offset))
        found.append(told(decision))
    return found


def told(decision: Decision) -> str | None:
    return next((event.reason for event in decision.events if isinstance(event, MessageWaiting)), None)


def test_each_new_reason_is_told_once() -> None:
    assert reasons(
        (make.postponed(ID, until_ms=NOW + 1), LATER),  # it came back, its provider is closed
        (make.due(ID, "retry", 1, 2), PAUSED),
        (make.due(ID, "admission", 1, 2), PAUSED),  # called, and stopped once more
        (
            make.due(ID, "admission", 1, 2),
            replace(LATER, stopped="path_paused", route=Chosen(None, None, "ups_1", "main", None, ("ups_1",))),
        ),
        (make.due(ID, "admission", 1, 2), LATER),  # goes out
        (make.postponed(ID, dispatch=2, until_ms=NOW + 2), LATER),
    ) == ["postponed", "destination_paused", None, "path_paused", None, "postponed"]


def test_that_its_time_has_come_is_seen_by_the_clock() -> None:
    crowded = replace(LATER, room=False)
    assert reasons((make.postponed(ID, until_ms=NOW + 1), LATER), (make.due(ID, "retry", 1, 2), crowded)) == [
        "postponed",
        None,
    ]
    resumed: list[tuple[Given, Context]] = [
        (make.postponed(ID, until_ms=NOW + 1), LATER),
        (make.due(ID, "retry", 1, 2), PAUSED),
    ]
    assert reasons(*resumed, (make.due(ID, "admission", 1, 2), crowded)) == [
        "postponed",
        "destination_paused",
        "admission",
    ]


def test_a_path_that_none_can_take_is_named() -> None:
    none = replace(LATER, stopped="path_paused", route=Chosen("rte_1", 2, "ups_1", "main", None, ("ups_1", "mx:main")))
    (event,) = decide(DEFERRED, make.due(ID, "retry", 2), none).events
    assert isinstance(event, MessageWaiting)
    assert (event.status, event.waits_for) == ("deferred", ["ups_1", "mx:main"])


def test_a_deadline_that_comes_first_is_the_next_time() -> None:
    state = after(make.submit(ID, deliver_before_ms=NOW + 10))
    (event,) = decide(state, make.postponed(ID, until_ms=NOW + 60_000), CONTEXT).events
    assert isinstance(event, MessageWaiting)
    assert event.next_attempt_at == to_timestamp(NOW + 10)


def test_an_outcome_names_the_rule_of_its_path_and_whose_schedule_counts() -> None:
    ruled = replace(CONTEXT, route=Chosen("rte_1", 4, "upstream", "main", None))
    state = after(make.submit(ID), at=ruled)
    (event,) = decide(state, make.temporary(ID), replace(CONTEXT, schedule_from="policy", policies=(USE,))).events
    assert isinstance(event, MessageDeferred)
    assert (event.route_id, event.route_version) == ("rte_1", 4)
    assert (event.attempts_allowed, event.schedule_from, event.policies) == (6, "policy", [USE])
    last = state.model_copy(update={"attempt": 6})
    (event,) = decide(last, make.temporary(ID, 6), CONTEXT).events
    assert isinstance(event, MessageBounced)
    assert (event.gave_up, event.attempts_allowed, event.schedule_from) == (
        "last_attempt",
        len(LADDER.waits_ms) + 1,
        "installation",
    )
    (event,) = decide(state, make.permanent(ID), CONTEXT).events
    assert isinstance(event, MessageBounced)
    assert (event.attempts_allowed, event.schedule_from) == (None, None)


def test_an_attempt_on_another_path_does_not_take_this_ones_rule() -> None:
    state = after(make.submit(ID), at=replace(CONTEXT, route=Chosen("rte_1", 4, "ups_9", "main", None)))
    (event,) = decide(state, make.temporary(ID), CONTEXT).events
    assert isinstance(event, MessageDeferred)
    assert isinstance(event.attempt, Attempt)
    assert event.route_id is None


def test_acceptance_says_who_asked_for_tls() -> None:
    use = PolicyUse(term="tls", policy_id="pol_1", version=1)
    asked = replace(CONTEXT, route=Chosen(None, None, "upstream", "main", "required", tls_by=use))
    accepted = decide(None, make.submit(ID), asked).events[1]
    assert isinstance(accepted, MessageAccepted)
    assert (accepted.tls, accepted.policies) == ("required", [use])
