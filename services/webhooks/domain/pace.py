"""So many requests a second to one endpoint: a bucket that holds a second's worth, and at least two."""

from dataclasses import dataclass
from math import ceil

_FEWEST = 2.0


@dataclass(slots=True, eq=False)
class Pace:
    """Times are Unix ms, given by the caller; the rate is too, for its owner may change it at any time."""

    _held: float | None = None  # None is full: nothing was taken yet
    _at_ms: int = 0

    def ready_at_ms(self, rate: float, *, spare: bool) -> int:
        """From when on one may be taken. `spare`: of the upper half alone, so that others always find something."""
        if self._held is None:
            return 0
        wanted = 1 + (_size(rate) - 1) / 2 if spare else 1.0
        return self._at_ms + max(0, ceil((wanted - self._held) * 1000 / rate))

    def take(self, rate: float, now_ms: int) -> None:
        full = _size(rate)
        held = full if self._held is None else min(full, self._held + max(0, now_ms - self._at_ms) * rate / 1000)
        self._held, self._at_ms = held - 1, now_ms


def _size(rate: float) -> float:
    return max(_FEWEST, rate)
