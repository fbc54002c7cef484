"""The state table of a message as data: which status may follow which. Everything that checks it reads this.

Pure values: this module must never decide, only say what is legal.
"""

from collections.abc import Mapping
from typing import Final

from schemas.mail import TERMINAL, Status

_OUTCOMES: Final[frozenset[Status]] = frozenset({"delivered", "deferred", "bounced", "unknown"})

# None: nobody knew the message before. A poison record of a message nobody knew is held at once.
FOLLOWS: Final[Mapping[Status | None, frozenset[Status]]] = {
    None: frozenset({"queued", "held"}),
    "queued": frozenset({"accepted", "suppressed", "held"}),
    "accepted": _OUTCOMES | {"suppressed", "held"},
    "deferred": _OUTCOMES | {"suppressed", "held"},
    "unknown": _OUTCOMES | {"suppressed", "held"},
    # Left by a person's release; till then only by the truth about an attempt that ran, or a suppression.
    "held": frozenset({"delivered", "bounced", "suppressed"}),
    **dict.fromkeys(TERMINAL, frozenset()),
}


class IllegalTransition(AssertionError):
    """A decision contradicts the state table: a bug, and no reason to write anything."""


def follow(before: Status | None, after: Status) -> Status:
    """`after`, if the table allows it. Raises IllegalTransition."""
    if after not in FOLLOWS[before]:
        raise IllegalTransition(f"{after} can not follow {before}")
    return after
