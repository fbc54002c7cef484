"""Up to which moment every event is in the store. Pure.

Where the log ended at some moment, and what of it has been inserted since, say so exactly: a quiet partition does not
look like one that lags, and a backlog does not look like quiet.
"""

from collections import deque
from dataclasses import dataclass, field

from services.analytics.domain.cursors import Positions

_MOST = 500  # moments remembered; in a longer backlog the oldest ones are forgotten first


@dataclass(slots=True)
class Frontier:
    _looked: deque[tuple[int, Positions]] = field(default_factory=lambda: deque(maxlen=_MOST))

    def look(self, now_ms: int, ends: Positions) -> None:
        """The log ended there at that moment, or a little later."""
        self._looked.append((now_ms, ends))

    def reached(self, inserted: Positions) -> int | None:
        """The latest moment whose events are all below `inserted`; None where there is none yet."""
        found = None
        while self._looked:
            moment, ends = self._looked[0]
            if any(inserted.get(place, 0) < end for place, end in ends.items()):
                break
            found = moment
            self._looked.popleft()
        return found
