"""Whether a path fares well at a provider, by what its senders measured (R20).

Pure. The two thresholds lie apart, so that a path near one of them does not go to and fro.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.routing import PathHealth

# Fewer outcomes than this in the senders' window prove nothing: one dead mailbox domain must not cost a path its mail.
_SAMPLE = 20
# Half of it without a connection, or blocked: others of the same window get through, elsewhere.
_BAD = 0.5
# Back again: a trickle brings few outcomes, and nearly all of them must be good.
_SAMPLE_BACK = 5
_GOOD = 0.2


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of one path at one provider group, over the senders and addresses that have it."""

    outcomes: int = 0
    bad: int = 0  # no connection, or blocked

    @classmethod
    def of(cls, measured: Iterable[PathHealth]) -> "Tally":
        found = list(measured)
        return cls(
            sum(one.delivered + one.deferred + one.bounced for one in found),
            sum(one.failed + one.blocked for one in found),
        )


def is_bad(before: bool, tally: Tally) -> bool:
    """What the tally says, given what was said `before`. Nothing measured at all: the path is tried anew."""
    if not before:
        return tally.outcomes >= _SAMPLE and tally.bad >= _BAD * tally.outcomes
    if tally.outcomes == 0:
        return False
    return tally.outcomes < _SAMPLE_BACK or tally.bad > _GOOD * tally.outcomes
