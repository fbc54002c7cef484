"""What the journal says of one attempt, and what follows from it for a delivery at hand: the honest attempt's decision.

Pure. The rule behind it: who finds a claim without an outcome never sends; who finds an outcome repeats it.
"""

from dataclasses import dataclass

from schemas.deliveries import AttemptRecorded, AttemptStarted


@dataclass(frozen=True, slots=True)
class History:
    """`claim`: the live claim, if one holds the attempt; `outcome`: what closed it; `not_sent`: the last that gave it up."""

    claim: AttemptStarted | None = None
    outcome: AttemptRecorded | None = None
    not_sent: AttemptRecorded | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Nobody has begun: claim it and go on."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """It is known what became of it: say so again, under the same ids."""

    recorded: AttemptRecorded


@dataclass(frozen=True, slots=True)
class Await:
    """Another began: look again at `until_ms` (broker time), when it can't write a body any more."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Another began and can't tell any more: its outcome is unknown."""

    claim: AttemptStarted


Step = Send | Repeat | Await | GiveUp


def next_step(history: History, dispatch: int, *, now_ms: int, margin_ms: int) -> Step:
    """What to do with the delivery `dispatch` of this attempt. `now_ms` is broker time."""
    if history.outcome is not None:
        return Repeat(history.outcome)
    if history.claim is not None:
        until_ms = history.claim.deadline_ms + margin_ms
        return Await(until_ms) if now_ms < until_ms else GiveUp(history.claim)
    if history.not_sent is not None and history.not_sent.dispatch >= dispatch:
        return Repeat(history.not_sent)
    return Send()
