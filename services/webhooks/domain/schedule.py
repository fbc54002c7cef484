"""When a failed delivery is tried again, and when no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

JITTER = 0.2  # of the gap, to both sides: what failed together must not come back together
# After a time-out, or an answer that asks for less, at least a minute goes by, jitter included.
_THROTTLED_GAP_MS = round(60_000 / (1 - JITTER))
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """The gaps between attempts, in ms: one attempt more than gaps."""

    gaps_ms: tuple[int, ...]

    @classmethod
    def of(cls, gaps: Sequence[timedelta]) -> "Schedule":
        return cls(tuple(round(gap.total_seconds() * 1000) for gap in gaps))

    def wait_ms(self, attempt: int, *, throttled: bool, retry_after_ms: int | None, chance: float) -> int | None:
        """How long to wait after the failed `attempt` (from 1), or None where it was the last. `chance` is in [0, 1).

        What the receiver asked for counts between the gap and an hour, or twice the gap where that is longer.
        """
        if attempt > len(self.gaps_ms):
            return None
        gap = self.gaps_ms[attempt - 1]
        base = round((max(gap, _THROTTLED_GAP_MS) if throttled else gap) * (1 - JITTER + 2 * JITTER * chance))
        return base if retry_after_ms is None else min(max(base, retry_after_ms), max(2 * base, _HOUR_MS))
