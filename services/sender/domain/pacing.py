"""What is learned of how fast mail may go, from one address of ours to one provider, or over one smarthost (R21).

Pure: time comes in as a number. More connections as mail is taken, half of them when we are told to slow down, none for
a while where that is asked for or nobody answers; never below one, and every restriction has its end.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from services.sender.domain.classification import SET_UP, Pace, pace_of
from services.sender.domain.outcome import Outcome
from services.sender.domain.shaping import Shape

EVIDENCE_LIMIT = 200  # characters of the reply that slowed us down

_GROWS_AFTER = 10  # mails taken, for one connection more
_FAILURES = 5  # connections in a row that came to nothing
_CLOSED_AT_FIRST_MS = 2_000  # a server that is restarted is back as soon
_CLOSED_AT_MOST_MS = 600_000  # a dead one costs one connection in ten minutes
_UNNAMED = Pace("source", 60, "halve")  # told to slow down, without a word of how

Pulse = Literal["taken", "answered", "unreachable"]


@dataclass(frozen=True, slots=True)
class Signal:
    """What the end of one transaction says of the pace."""

    pulse: Pulse
    pace: Pace | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known. Times in milliseconds; 0: never."""

    limit: int  # connections
    taken: int = 0  # mails, since the limit last changed
    unreachable: int = 0  # connections in a row that came to nothing
    warned: int = 0  # signals in a row, without a mail taken
    judged_ms: int = 0  # what began before then is known already
    closed_until_ms: int = 0
    slow_until_ms: int = 0  # nothing grows before
    per_second: float | None = None  # mails, until then
    evidence: str | None = None

    def closed(self, now_ms: int) -> bool:
        return now_ms < self.closed_until_ms

    def connections(self, shape: Shape) -> int:
        return max(1, min(self.limit, shape.connections))

    def rate(self, shape: Shape, now_ms: int) -> float | None:
        """Mails per second; None: as fast as they go."""
        if self.per_second is None or now_ms >= self.slow_until_ms:
            return shape.per_second
        return min(self.per_second, shape.per_second or self.per_second)


def beginning(shape: Shape) -> Standing:
    return Standing(min(shape.first, shape.connections))


def signal_of(outcome: Outcome) -> Signal:
    """What a server's answer says of the pace, its silence too."""
    if outcome.outcome == "delivered":
        return Signal("taken")
    evidence = (outcome.reply or "")[:EVIDENCE_LIMIT]
    if (pace := pace_of(outcome.rule_id, outcome.reply)) is not None:
        return Signal("answered", pace, evidence)
    if outcome.phase in SET_UP:
        return Signal("unreachable", None, evidence)
    slowed = outcome.category == "throttled" or (outcome.category == "transient" and outcome.code == 421)
    return Signal("answered", _UNNAMED if slowed else None, evidence)


def learn(
    standing: Standing, signal: Signal, shape: Shape, *, began_ms: int, now_ms: int, replicas: int = 1
) -> Standing:
    """After a transaction that began then. What was under way when we slowed down says nothing new: it is one signal."""
    match signal.pulse:
        case "taken":
            return _grown(replace(standing, unreachable=0, warned=0, taken=standing.taken + 1), shape, now_ms)
        case "unreachable":
            return standing if began_ms < standing.judged_ms else _missed(standing, signal, shape, now_ms)
        case "answered":
            heard = replace(standing, unreachable=0)
            if signal.pace is None or signal.pace.scope != "source" or began_ms < standing.judged_ms:
                return heard
            return _warned(heard, signal.pace, signal.evidence, shape, now_ms, replicas)
        case _:
            assert_never(signal.pulse)


def _grown(standing: Standing, shape: Shape, now_ms: int) -> Standing:
    if standing.taken < _GROWS_AFTER or now_ms < standing.slow_until_ms:
        return standing
    limit = min(standing.limit + 1, shape.connections)
    done = limit == shape.connections
    return replace(standing, limit=limit, taken=0, per_second=None, evidence=None if done else standing.evidence)


def _missed(standing: Standing, signal: Signal, shape: Shape, now_ms: int) -> Standing:
    """Where nobody answers one connection asks again, each time later."""
    missed = standing.unreachable + 1
    if missed < _FAILURES:
        return replace(standing, unreachable=missed)
    closed_ms = min(_CLOSED_AT_FIRST_MS * 2 ** min(missed - _FAILURES, 20), _CLOSED_AT_MOST_MS)
    return replace(
        standing,
        limit=1,
        taken=0,
        unreachable=missed,
        judged_ms=now_ms,
        closed_until_ms=max(standing.closed_until_ms, now_ms + _bounded(closed_ms, shape)),
        evidence=signal.evidence,
    )


def _warned(standing: Standing, pace: Pace, evidence: str, shape: Shape, now_ms: int, replicas: int) -> Standing:
    warned = standing.warned + 1
    if warned < pace.after:  # it may have been about the one mail
        pace = _UNNAMED
    until_ms = now_ms + _bounded(pace.seconds * 1000, shape)
    slowed = replace(
        standing,
        taken=0,
        warned=warned,
        judged_ms=now_ms,
        slow_until_ms=max(standing.slow_until_ms, until_ms),
        evidence=evidence,
    )
    match pace.act:
        case "halve" if standing.connections(shape) > 1:
            return replace(slowed, limit=standing.connections(shape) // 2)
        case "halve":  # nothing left to halve: a while of silence, each time longer
            silent_ms = min(_CLOSED_AT_FIRST_MS * 2 ** min(warned, 20), until_ms - now_ms)
            return replace(slowed, closed_until_ms=max(standing.closed_until_ms, now_ms + silent_ms))
        case "single":
            return replace(slowed, limit=1)
        case "trickle":
            assert pace.per_minute is not None
            return replace(slowed, limit=1, per_second=pace.per_minute / 60 / replicas)
        case "pause":
            return replace(slowed, limit=1, closed_until_ms=max(standing.closed_until_ms, until_ms))
        case _:
            assert_never(pace.act)


def _bounded(closed_ms: int, shape: Shape) -> int:
    return closed_ms if shape.longest_closure_ms is None else min(closed_ms, shape.longest_closure_ms)


@dataclass(frozen=True, slots=True)
class Meter:
    """A token bucket as one number: when the next mail would go if they went evenly. A second's worth may go at once."""

    even_ms: float = 0.0

    def next_ms(self, per_second: float, now_ms: int) -> int:
        """When the next mail may go; now, where that is not later."""
        return max(now_ms, round(self.even_ms - _burst_ms(per_second)))

    def spent(self, per_second: float, now_ms: int) -> "Meter":
        return Meter(max(self.even_ms, float(now_ms)) + 1000 / per_second)


def _burst_ms(per_second: float) -> float:
    return max(0.0, 1000 - 1000 / per_second)
