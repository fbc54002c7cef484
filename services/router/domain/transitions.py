"""The state table of a message as data: which status may follow which. Everything that checks it reads this.

Pure values: this module must never decide, only say what is legal.
"""

from collections.abc import Mapping
from typing import Final

from schemas.mail import TERMINAL, Status

_OUTCOMES: Final[frozenset[Status]] = frozenset({"delivered", "deferred", "bounced", "unknown"})
# What may happen to any message that has not ended, while no attempt of it runs; an internal error at any time.
_STOPPED: Final[frozenset[Status]] = frozenset({"suppressed", "cancelled", "expired", "held"})

# None: nobody knew the message before. A poison record of a message nobody knew is held at once.
# Complaints and unsubscriptions are events that keep the status, so they are not here.
FOLLOWS: Final[Mapping[Status | None, frozenset[Status]]] = {
    **dict.fromkeys(TERMINAL, frozenset()),
    None: frozenset({"queued", "held"}),
    "queued": _STOPPED | {"accepted", "scheduled"},
    "scheduled": _STOPPED | {"accepted", "scheduled"},  # moved to another time
    "accepted": _OUTCOMES | _STOPPED,
    "deferred": _OUTCOMES | _STOPPED,
    "unknown": _OUTCOMES | _STOPPED,
    # Left by a person's release; till then only by the truth about an attempt that ran, or by what stops any message.
    "held": _STOPPED - {"held"} | {"accepted", "delivered", "deferred", "bounced"},
    "delivered": frozenset({"bounced"}),  # by a bounce that came later
}


class IllegalTransition(AssertionError):
    """A decision contradicts the state table: a bug, and no reason to write anything."""


def follow(before: Status | None, after: Status) -> Status:
    """`after`, if the table allows it. Raises IllegalTransition."""
    if after not in FOLLOWS[before]:
        raise IllegalTransition(f"{after} can not follow {before}")
    return after
