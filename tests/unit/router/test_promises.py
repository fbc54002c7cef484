"""Whatever comes, in whatever order, with a kill -9 between any two steps: the promises hold (R22 to R24; D25, D30, D112)."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.envelope import Payload
from tests.kit import router_inputs as make
from tests.kit.oracle import Evidence, by_message, judge
from tests.kit.router_log import Killed, RouterOnLog, Step_

MESSAGES = 3
_OUTCOMES: list[Callable[[str, int, int], Payload]] = [
    make.delivered,
    make.temporary,
    make.permanent,
    lambda of, attempt, dispatch: make.permanent(of, attempt, dispatch, category="invalid_recipient"),
    make.unknown,
    make.refused,
    lambda of, attempt, dispatch: make.postponed(of, attempt, dispatch, until_ms=make.START_MS + 90_000),
    make.too_late,
]
# The first message is plain, the others have times and wishes.
_WISHES: list[dict[str, Any]] = [
    {},
    {"scheduled_ms": make.START_MS + 40_000, "deliver_before_ms": make.START_MS + 40_000_000},
    {"on_unknown": "hold", "deliver_before_ms": make.START_MS + 70_000},
]
_KILLS: list[Step_ | None] = [None, None, None, "decided", "state", "half", "outputs"]


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that happens: chosen by hypothesis, carried out by `_play`."""

    what: int
    message: int
    attempt: int
    dispatch: int
    outcome: int
    kill: int


MOVES = st.lists(
    st.builds(
        Move,
        what=st.integers(0, 11),
        message=st.integers(0, MESSAGES - 1),
        attempt=st.integers(1, 7),
        dispatch=st.integers(1, 3),
        outcome=st.integers(0, len(_OUTCOMES) - 1),
        kill=st.integers(0, len(_KILLS) - 1),
    ),
    min_size=1,
    max_size=40,
)


async def _play(router: RouterOnLog, ids: list[str], moves: list[Move]) -> None:
    for move in moves:
        of = ids[move.message]
        match move.what:
            case 0 | 1:
                router.give(make.submit(of, **_WISHES[move.message]))
            case 2 | 3:  # what may come at any time: a stranger's outcome, an old one, one twice
                router.give(_OUTCOMES[move.outcome](of, move.attempt, move.dispatch))
            case 4 | 5:  # what the sender says of the last hand-out
                _answer(router, of, move)
            case 6:
                router.give(
                    make.due(
                        of,
                        ["retry", "admission", "watchdog", "schedule", "expiry"][move.outcome % 5],
                        move.attempt,
                        move.dispatch,
                    )
                )
            case 7:
                router.log.now_ms += [1_000, 31_000, 3_700_000, 30_000_000][move.outcome % 4]
            case 8:
                if move.kill == 0:
                    router.listing.add("ada@example.org")
            case 9 | 10:
                router.give(_command(of, move))
        await _advance(router, _KILLS[move.kill])


def _answer(router: RouterOnLog, of: str, move: Move) -> None:
    sent = [(attempt, dispatch) for message, attempt, dispatch in router.sent() if message == of]
    if sent:
        router.give(_OUTCOMES[move.outcome](of, *sent[-1]))


def _command(of: str, move: Move) -> Payload:
    """`attempt` names the request, so that some of them are repeated."""
    request = f"req_{move.attempt}"
    match move.outcome % 4:
        case 0:
            return make.cancel(of, f"{request}c")
        case 1:
            return make.reschedule(of, make.START_MS + move.dispatch * 3_000_000, f"{request}m")
        case 2:
            return make.release(of, f"{request}r")
        case _:
            return make.feedback(of, ["bounce", "complaint", "unsubscribe"][move.dispatch - 1], request)


async def _advance(router: RouterOnLog, kill: Step_ | None) -> None:
    try:
        await router.batch(killed_after=kill)
        await router.tick(killed_after=kill)
    except Killed:
        router.kill()
        router.start()


async def _finish(router: RouterOnLog, ids: list[str]) -> None:
    """A sender that always answers, and time enough for everything."""
    router.give(*(make.submit(of, **wishes) for of, wishes in zip(ids, _WISHES, strict=True)))
    await router.settle()
    random = Random(7)
    for number in range(200):
        reported = set()
        for of, attempt, dispatch in router.sent():
            state = router.state(of)
            if (
                state["in_flight"]
                and (attempt, dispatch) == (state["attempt"], state["dispatch"])
                and of not in reported
            ):
                reported.add(of)
                router.give(random.choice([make.temporary, make.delivered])(of, attempt, dispatch))
        router.give(*(make.release(of, f"req_{number}") for of in ids if router.state(of)["status"] == "held"))
        router.log.now_ms += 3_700_000
        await router.settle()
        if all(router.state(of)["closed_at_ms"] for of in ids):
            return


def _check(router: RouterOnLog, ids: list[str]) -> None:
    values = [record.value for record in router.log.topics["mail.public.message-events.v1"] if record.value is not None]
    copies = Counter(of for of in ids if router.statuses(of)[-1] not in {"cancelled", "expired"})
    assert judge(Evidence(set(ids), by_message(values), copies)) == []
    contents: dict[tuple[str, int, int], Any] = {}
    for delivery in router.live_deliveries():
        name = (delivery["message_id"], delivery["attempt"], delivery["dispatch"])
        assert delivery["attempt"] <= 6
        assert contents.setdefault(name, delivery | {"valid_until_ms": 0}) == delivery | {"valid_until_ms": 0}
    _check_verdicts(router)
    for of in ids:
        last = [event["data"]["attempt"]["number"] for event in router.events(of) if "attempt" in event["data"]]
        assert len([number for number in last if number > 6]) == 0


def _check_verdicts(router: RouterOnLog) -> None:
    """One request has one verdict, and it says what the events say (R7)."""
    told: dict[tuple[str, str], Any] = {}
    for reply in router.log.values("mail.internal.replies.v1"):
        verdict = reply["data"]
        if verdict["verdict"] == "unknown_message":  # it was, and may be submitted since
            continue
        assert told.setdefault((verdict["message_id"], verdict["request_id"]), verdict) == verdict
        event = router.events(verdict["message_id"])[verdict["sequence"] - 1]
        assert event["data"]["status"] == verdict["status"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves=MOVES, window=st.sampled_from([1, 2, 100]))
def test_every_accepted_message_ends_once_with_one_dense_story(moves: list[Move], window: int) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as folder:
            router = RouterOnLog(Path(folder), window=window)
            ids = [make.message_id() for _ in range(MESSAGES)]
            await _play(router, ids, moves)
            await _finish(router, ids)
            _check(router, ids)
            router.kill()

    asyncio.run(story())
