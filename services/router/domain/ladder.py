"""The retry ladder: how long a message waits after each attempt, and when it has had its last (R22).

Values in, values out: chance comes in as a number.
"""

from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

# Spreads what came due together (an outage of a large provider) over this share of the waiting time.
_SPREAD = 0.05
# Below this a schedule is a test's or an operator's exact wish.
_NEVER_SPREAD_BELOW_MS = 5_000


@dataclass(frozen=True, slots=True)
class Ladder:
    """The waits after attempt 1, 2, … in ms; one attempt more than waits is made."""

    waits_ms: tuple[int, ...]

    @classmethod
    def of(cls, schedule: Sequence[timedelta]) -> "Ladder":
        return cls(tuple(round(wait.total_seconds() * 1000) for wait in schedule))

    def due_after(self, attempt: int, now_ms: int, jitter: float) -> int | None:
        """When attempt `attempt` + 1 is due (ms), or None where `attempt` was the last. `jitter` is 0 to 1."""
        if attempt > len(self.waits_ms):
            return None
        wait = self.waits_ms[attempt - 1]
        spread = 0 if wait < _NEVER_SPREAD_BELOW_MS else round(wait * _SPREAD * jitter)
        return now_ms + wait + spread


def jitter_of(message_id: str, attempt: int) -> float:
    """A number from 0 to 1 that differs from message to message and is the same whenever it is asked for."""
    return crc32(f"{message_id}#{attempt}".encode()) / 0xFFFFFFFF
