"""The ledger's fold and its comparison: whatever comes twice or late, each message counts once, by its latest state (R37)."""

import random
from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import message_octets
from schemas.envelope import Envelope, encode
from schemas.events import MessageEvent
from schemas.inputs import Submit
from schemas.topics import TOPICS
from services.analytics.domain.ledger import (
    ENDS,
    HOUR_MS,
    OPEN,
    QUEUED,
    Account,
    Balance,
    Counts,
    Drifts,
    Fact,
    Hours,
    Octets,
    Standing,
    balances,
    fact_of,
    fold,
    ledger_query,
    ledger_view,
    submission_of,
)
from services.analytics.domain.parameters import InvalidQuery
from tests.kit.examples import examples_of
from tests.kit.history import PROJECT, History

NOON = 1_780_000_000_000 // HOUR_MS * HOUR_MS


def facts_of(events: list[Envelope[MessageEvent]]) -> list[Fact]:
    return [fact for event in events if (fact := fact_of(encode(event))) is not None]


def counted(pieces: list[list[Fact]]) -> dict[str, int]:
    """As the book keeps it: piece by piece, each from the standings so far."""
    standings: dict[Octets, Standing] = {}
    counts: Counter[str] = Counter()
    for piece in pieces:
        moves = fold({fact.message: standings[fact.message] for fact in piece if fact.message in standings}, piece)
        standings |= moves.standings
        for (_, word), number in moves.counts.items():
            counts[word] += number
    return {word: number for word, number in counts.items() if number}


LIVES = [
    ("queued",),
    ("queued", "accepted"),
    ("queued", "accepted", "deferred"),
    ("queued", "accepted", "deferred", "delivered"),
    ("queued", "accepted", "delivered", "bounced"),  # asynchronous
    ("queued", "suppressed"),
    ("queued", "accepted", "held"),
]
TRUTH = {QUEUED: 7, "in_flight": 2, "waiting": 1, "delivered": 1, "bounced": 1, "suppressed": 1, "held": 1}


@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_any_repeats_any_pieces_count_the_same(chance: random.Random, pieces: int) -> None:
    history = History(NOON)
    facts = [fact for steps in LIVES for fact in facts_of(history.life(*steps))]
    shuffled = [*facts, *chance.choices(facts, k=10)]
    chance.shuffle(shuffled)
    assert counted([shuffled[n::pieces] for n in range(pieces)]) == TRUTH


def test_a_message_without_its_first_event_is_not_queued_and_shows() -> None:
    first, *others = facts_of(History(NOON).life("queued", "accepted", "delivered"))
    assert counted([others]) == {"delivered": 1}
    assert counted([others, [first]]) == {QUEUED: 1, "delivered": 1}


def test_an_hour_is_the_one_of_acceptance() -> None:
    history = History(NOON - 1000)
    (event,) = history.life("queued")
    late = fact_of(encode(event.model_copy(update={"time": "2026-12-31T00:00:00.000Z"})))
    assert late is not None
    assert list(fold({}, [late]).counts) == [
        (Account(NOON - HOUR_MS, PROJECT), "in_flight"),
        (Account(NOON - HOUR_MS, PROJECT), QUEUED),
    ]


@pytest.mark.parametrize(
    "value", [None, b"", b"[]", b"\xff", b'{"subject":"msg_1"}', b'{"subject":"sup_1","data":{"status":"x"}}']
)
def test_what_is_no_event_of_a_message_counts_for_nothing(value: bytes | None) -> None:
    assert fact_of(value) is None
    assert submission_of(value, 0) is None


def test_every_example_of_an_event_is_read() -> None:
    for example in examples_of("message-events"):
        fact = fact_of(example.value)
        assert fact is not None, example
        assert fact.standing.state in {*ENDS, *OPEN}


@pytest.mark.parametrize("entry", ["message-inputs.express", "message-inputs.standard"])
def test_every_example_of_a_submission_is_read_and_a_late_one_is_void(entry: str) -> None:
    submits = [example for example in examples_of(entry) if orjson.loads(example.value)["type"] == Submit.TYPE]
    assert submits
    assert Submit.TYPE in TOPICS[entry].types
    for example in submits:
        document = orjson.loads(example.value)
        until = document["data"]["valid_until_ms"]
        found = (message_octets(document["subject"]), document["projectid"])
        assert submission_of(example.value, until) == found
        assert submission_of(example.value, until + 1) is None


def balance(tables: dict[str, int], log: dict[str, int], missing: int = 0, hour_ms: int = NOON) -> Balance:
    return Balance(Account(hour_ms, PROJECT), Counts(tables), Counts(log), missing)


@pytest.mark.parametrize(
    ("tables", "log", "drift"),
    [
        ({QUEUED: 2, "delivered": 2}, {QUEUED: 2, "delivered": 2}, 0),
        ({QUEUED: 1, "delivered": 1}, {QUEUED: 2, "delivered": 2}, 1),  # a row is gone
        ({QUEUED: 2, "delivered": 1, "waiting": 1}, {QUEUED: 2, "delivered": 2}, 1),  # a row is behind
        ({QUEUED: 3, "bounced": 3}, {QUEUED: 2, "delivered": 2}, 3),
        ({QUEUED: 1, "delivered": 2}, {QUEUED: 2, "delivered": 2}, 1),  # its first event is gone
    ],
)
def test_drift_is_how_many_messages_one_side_has_otherwise(
    tables: dict[str, int], log: dict[str, int], drift: int
) -> None:
    assert balance(tables, log).drift == drift


def test_drift_is_told_once_and_so_is_its_end() -> None:
    drifts, hours = Drifts(), Hours(NOON, NOON + HOUR_MS)
    odd, older = balance({}, {QUEUED: 1, "held": 1}), balance({}, {}, missing=2, hour_ms=NOON - HOUR_MS)
    assert drifts.noted(Hours(NOON - HOUR_MS, NOON), [older]) == ([older], [])
    assert drifts.noted(hours, [odd]) == ([odd], [])
    assert drifts.noted(hours, [odd]) == ([], [])
    assert (drifts.by_hour(), drifts.missing()) == ({NOON: 1}, 2)
    assert drifts.noted(hours, [balance({"held": 1}, {"held": 1})]) == ([], [odd.account])
    assert (drifts.by_hour(), drifts.missing()) == ({}, 2)


def test_the_answer_has_each_hour_that_any_side_knows_newest_first() -> None:
    early, late = Account(NOON - HOUR_MS, PROJECT), Account(NOON, PROJECT)
    found = balances({early: Counts({QUEUED: 1, "held": 1})}, {late: Counts({QUEUED: 1, "delivered": 1})}, {late: 1})
    view = ledger_view(found)
    assert view["object"] == "ledger"
    newest, oldest = view["data"]
    nothing = {"queued": 0, **dict.fromkeys(ENDS, 0), "open": dict.fromkeys(OPEN, 0)}
    one = {**nothing, "queued": 1, "delivered": 1}
    assert newest == {"hour": "2026-05-28T20:00:00.000Z", **nothing, "log": one, "missing": 1, "drift": 1}
    assert (oldest["hour"], oldest["open"]["held"], oldest["log"]) == ("2026-05-28T19:00:00.000Z", 1, nothing)


def test_whole_hours_are_asked_for() -> None:
    assert ledger_query([], NOON + 5) == Hours(NOON - 23 * HOUR_MS, NOON + HOUR_MS)
    asked = [("since", "2026-05-28T10:30:00Z"), ("until", "2026-05-28T12:00:00.001Z")]
    assert ledger_query(asked, 0) == Hours(NOON - 10 * HOUR_MS, NOON - 7 * HOUR_MS)


@pytest.mark.parametrize(
    ("parameters", "faults"),
    [
        ([("since", "yesterday"), ("hour", "3")], ["since", "hour"]),
        ([("since", "2026-05-28T12:00:00Z"), ("until", "2026-05-28T12:00:00Z")], ["until"]),
        ([("since", "2026-01-01T00:00:00Z"), ("until", "2026-05-28T12:00:00Z")], ["since"]),
    ],
)
def test_what_is_not_right_is_named(parameters: list[tuple[str, str]], faults: list[str]) -> None:
    with pytest.raises(InvalidQuery) as raised:
        ledger_query(parameters, NOON)
    assert [fault.field for fault in raised.value.faults] == faults
