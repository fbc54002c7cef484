"""What may go wrong, how often, and what did: every draw comes from one seed.

Each seed leaves some kinds of fault out, so that the others are met in their pure form, too.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Literal

OnAppend = Literal["fine", "die before", "die after", "late", "lost"]
# Per append (the first four), per commit, per transaction, or per message.
_USUAL = {
    "die before": 0.012,
    "die after": 0.02,
    "late": 0.03,
    "lost": 0.015,
    "act": 0.06,  # an append brings on one of ACTIONS within moments
    "commit lost": 0.03,
    "rewind": 0.3,  # a take-over begins before the last commit
    "file lost": 0.3,  # a restart finds no local file
    "no room": 0.06,  # a delivery finds no slot in time, or only after a while
    "early timer": 0.5,  # of a message that a client was told of: as a router whose clock is ahead
    "lag": 0.03,  # a tail reads seconds late
}
ACTIONS = ("kill router", "kill sender", "kill ingest", "freeze", "cut", "move", "suppress", "unsuppress", "poison")


@dataclass(slots=True)
class Faults:
    """`healed`: nothing goes wrong any more, so that everything must come to its end."""

    random: Random
    healed: bool = False
    fired: Counter[str] = field(default_factory=Counter)
    chances: dict[str, float] = field(init=False)
    actions: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        draw = self.random
        self.chances = {kind: usual * draw.choice([0, 1, 1, 3]) for kind, usual in _USUAL.items()}
        self.actions = tuple(kind for kind in ACTIONS if draw.random() < 0.7) or ("move",)

    def happens(self, kind: str) -> bool:
        if self.healed or self.random.random() >= self.chances[kind]:
            return False
        self.fired[kind] += 1
        return True

    def on_append(self) -> OnAppend:
        kinds: tuple[OnAppend, ...] = ("die before", "die after", "late", "lost")
        for kind in kinds:
            if self.happens(kind):
                return kind
        return "fine"

    def lag(self) -> float:
        """Seconds until a reader sees what has landed."""
        if self.happens("lag"):
            return self.random.uniform(0.2, 8)
        return self.random.uniform(0.0005, 0.01)
