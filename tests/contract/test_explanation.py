"""What the router decides, the read side explains (R36): whatever happens to a message, it has a reason and a next time while it waits."""

from dataclasses import dataclass, field, replace
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as some

from rules.routing import Chosen
from schemas.envelope import Envelope, decode, to_timestamp
from schemas.events import MESSAGE_EVENTS, MessageEvent
from schemas.mail import TERMINAL, WaitReason
from schemas.routing import PolicyUse
from schemas.states import MessageState
from services.analytics.domain.explanation import Kind, explain
from services.ingest.api import openapi_explained
from services.router.domain.decision import NOTHING, Context, Given, Unreadable
from services.router.domain.evolution import evolve
from services.router.domain.message import decide
from services.router.domain.records import entry_of
from tests.kit import router_inputs as make
from tests.unit.router.test_state_table import CONTEXT, ID, LISTED, NOW

HOUR = 3_600_000
FOR_A_PERSON = {"held_unknown", "held_policy", "internal_error"}


@dataclass
class Life:
    """A message as the router has it, and all that it told of it."""

    state: MessageState | None = None
    now_ms: int = NOW
    offset: int = 0
    told: list[Envelope[MessageEvent]] = field(default_factory=list)

    def meets(self, given: Given, **known: Any) -> None:
        self.offset += 1
        fields: dict[str, Any] = {"now_ms": self.now_ms, "landed_ms": self.now_ms, "offset": self.offset}
        context: Context = replace(CONTEXT, submitted=make.content(), **(fields | known))
        decision = decide(self.state, given, context)
        if decision is NOTHING or (self.state is None and not decision.events):
            return
        before = 0 if self.state is None else self.state.sequence
        self.state = evolve(self.state, given, decision, context)
        entry = entry_of(
            before,
            self.state,
            decision,
            project_id=make.PROJECT,
            route=context.route,
            offset=self.offset,
            now_ms=self.now_ms,
        )
        self.told += [decode(orjson.dumps(event), MESSAGE_EVENTS) for event in entry.events]

    @property
    def waits(self) -> bool:
        return self.state is not None and self.state.status not in TERMINAL and not self.state.in_flight

    def explained(self, *, later: int = 0) -> dict[str, Any]:
        return explain(self.told, self.now_ms + later)


def check(life: Life) -> None:
    """The promise, for any moment of any message."""
    if not life.told:
        return
    assert life.state is not None
    said = life.explained()
    assert said["status"] == life.state.status
    assert {decision["event_id"] for decision in said["decisions"]} <= {event.id for event in life.told}
    assert [decision["at"] for decision in said["decisions"]] == sorted(d["at"] for d in said["decisions"])
    if life.state.status in TERMINAL:
        assert said["waiting"] is None
    if life.waits:
        waiting = said["waiting"]
        assert waiting is not None, "it waits, and nobody knows for what"
        come = life.state.due_at_ms is not None and waiting["next_attempt_at"] <= to_timestamp(life.now_ms)
        assert waiting["reason"] == ("admission" if come else life.state.reason)
        assert waiting["text"]
        assert (waiting["next_attempt_at"] is None) == (waiting["reason"] in FOR_A_PERSON)
        if life.state.due_at_ms is not None and life.state.due_at_ms > life.now_ms:
            assert waiting["next_attempt_at"] <= to_timestamp(life.state.due_at_ms)


def of(life: Life, make_input: Any) -> Given:
    """An input that fits what the message is at."""
    attempt, dispatch = (1, 1) if life.state is None else (life.state.attempt, life.state.dispatch)
    given: Given = make_input(attempt, dispatch, life.now_ms)
    return given


INPUTS: dict[str, Any] = {
    "submit": lambda *_: make.submit(ID),
    "submit to hold": lambda *_: make.submit(ID, on_unknown="hold"),
    "submit for later": lambda a, d, now: make.submit(ID, scheduled_ms=now + HOUR),
    "submit with an end": lambda a, d, now: make.submit(ID, deliver_before_ms=now + 5 * HOUR),
    "temporary": lambda a, d, now: make.temporary(ID, a, d),
    "unknown": lambda a, d, now: make.unknown(ID, a, d),
    "late truth": lambda a, d, now: make.temporary(ID, max(1, a - 1), 1),
    "postponed": lambda a, d, now: make.postponed(ID, a, d, until_ms=now + HOUR),
    "path down": lambda a, d, now: make.postponed(ID, a, d, until_ms=now + HOUR).model_copy(
        update={"reason": "path_down"}
    ),
    "delivered": lambda a, d, now: make.delivered(ID, a, d),
    "retry": lambda a, d, now: make.due(ID, "retry", a, d),
    "admission": lambda a, d, now: make.due(ID, "admission", a, d),
    "schedule": lambda a, d, now: make.due(ID, "schedule", a, d),
    "watchdog": lambda a, d, now: make.due(ID, "watchdog", a, d),
    "flush": lambda a, d, now: make.due(ID, "flush", a, d),
    "poison": lambda *_: Unreadable(ID, "dlq/0/7"),
    "cancel": lambda *_: make.cancel(ID),
    "reschedule": lambda a, d, now: make.reschedule(ID, now + 2 * HOUR),
    "release": lambda *_: make.release(ID),
    "complaint": lambda *_: make.feedback(ID, "complaint"),
}
NOWHERE = Chosen("rte_1", 2, "ups_1", "main", None, ("ups_1", "mx:main"))
WORLDS: dict[str, dict[str, Any]] = {
    "open": {},
    "full": {"room": False},
    "paused": {"stopped": "destination_paused"},
    "no path": {"stopped": "path_paused", "route": NOWHERE},
    "lapsed": {"lapsed": True},
    "listed": {"listed": LISTED},
}


@settings(max_examples=150)
@drawn(
    some.sampled_from([name for name in INPUTS if name.startswith("submit")]),
    some.sampled_from(list(WORLDS)),
    some.lists(
        some.tuples(
            some.sampled_from(list(INPUTS)),
            some.sampled_from(list(WORLDS)),
            some.sampled_from([0, 1000, HOUR, 6 * HOUR]),
        ),
        max_size=12,
    ),
)
def test_while_it_waits_it_has_a_reason_and_a_next_time(
    submit: str, world: str, steps: list[tuple[str, str, int]]
) -> None:
    life = Life()
    life.meets(of(life, INPUTS[submit]), **WORLDS[world])
    check(life)
    for name, where, pause in steps:
        life.now_ms += pause
        life.meets(of(life, INPUTS[name]), **WORLDS[where])
        check(life)


WAITS: dict[WaitReason, list[tuple[str, str]]] = {
    "admission": [("submit", "full")],
    "destination_paused": [("submit", "paused")],
    "path_paused": [("submit", "no path")],
    "retry_ladder": [("submit", "open"), ("temporary", "open")],
    "postponed": [("submit", "open"), ("postponed", "open")],
    "scheduled": [("submit for later", "open")],
    "held_unknown": [("submit to hold", "open"), ("unknown", "open")],
    "held_policy": [("submit", "lapsed")],
    "internal_error": [("submit", "open"), ("poison", "open")],
}


@pytest.mark.parametrize("reason", [*WAITS, "greylisted"])
def test_every_reason_is_told(reason: WaitReason) -> None:
    """`greylisted` comes with its category alone."""
    life = Life()
    for name, where in WAITS.get(reason, [("submit", "open")]):
        life.meets(of(life, INPUTS[name]), **WORLDS[where])
    if reason == "greylisted":
        life.meets(make.temporary(ID).model_copy(update={"category": "greylisted"}))
    check(life)
    assert life.waits
    assert life.explained()["waiting"]["reason"] == reason


def test_a_path_that_is_still_down_when_it_was_to_be_back_is_told_again() -> None:
    life = Life()
    for name, where, pause in (("submit", "open", 0), ("path down", "open", 0), ("retry", "no path", HOUR)):
        life.now_ms += pause
        life.meets(of(life, INPUTS[name]), **WORLDS[where])
        check(life)
    assert life.explained(later=HOUR)["waiting"]["reason"] == "path_paused"


def test_every_reason_of_the_list_is_met() -> None:
    assert {*WAITS, "greylisted"} == set(get_args(WaitReason))


def test_what_is_told_of_a_long_life() -> None:
    """Rule, template, suppression check, path, policy, pacing, attempt, retry, command, end: each with its event and version."""
    ruled = Chosen(
        "rte_1", 3, "upstream", "main", "required", tls_by=PolicyUse(term="tls", policy_id="pol_t", version=4)
    )
    by_policy = (PolicyUse(term="retry_schedule", policy_id="pol_r", version=2),)
    life = Life()
    life.meets(make.submit(ID, template="tpl_1", template_version=7), route=ruled, room=False)
    life.meets(make.due(ID, "admission"), route=ruled)
    life.meets(make.temporary(ID), schedule_from="policy", policies=by_policy)
    life.now_ms += HOUR
    life.meets(make.due(ID, "retry", 2), stopped="destination_paused")
    life.meets(make.cancel(ID))
    said = life.explained()
    told = [(decision["kind"], decision["rule"], decision["version"]) for decision in said["decisions"]]
    assert told == [
        ("acceptance", None, None),
        ("template", "tpl_1", 7),
        ("suppression", None, None),
        ("route", "rte_1", 3),
        ("policy", "pol_t", 4),
        ("pacing", None, None),
        ("attempt", None, None),
        ("retry", "pol_r", 2),
        ("pacing", None, None),
        ("command", None, None),
        ("end", None, None),
    ]
    assert [event.id for event in life.told] == list(dict.fromkeys(d["event_id"] for d in said["decisions"]))


def test_the_api_tells_of_the_kinds_that_there_are() -> None:
    assert get_args(Kind) == openapi_explained.KINDS


def test_a_time_that_has_come_is_no_time_to_wait_for() -> None:
    life = Life()
    life.meets(make.submit(ID))
    life.meets(make.temporary(ID))
    assert life.explained()["waiting"]["reason"] == "retry_ladder"
    late = life.explained(later=HOUR)["waiting"]
    assert (late["reason"], late["next_attempt_at"]) == ("admission", life.explained()["waiting"]["next_attempt_at"])
