"""What is on its way to one place, how long that usually takes, and so how long one waits there.

Pure: time comes in as a number. It must never call a place hopeless that merely takes its time: whoever is given back for
nothing is away for half a minute.
"""

from collections.abc import Hashable
from itertools import takewhile

_WEIGHT = 0.2  # of the last one in what is usual: ten later it counts for a tenth
_NO_NEWS_MS = 1_000  # within so short a time nothing has to have ended: a TLS connection is not made in less


class Traffic:
    def __init__(self) -> None:
        self._began: dict[Hashable, int] = {}  # the oldest first
        self._usual_ms: float | None = None

    def __len__(self) -> int:
        return len(self._began)

    def enter(self, who: Hashable, now_ms: int) -> None:
        self._began[who] = now_ms

    def leave(self, who: Hashable, now_ms: int) -> None:
        took_ms = now_ms - self._began.pop(who)
        self._usual_ms = took_ms if self._usual_ms is None else self._usual_ms + _WEIGHT * (took_ms - self._usual_ms)

    def began_ms(self, who: Hashable) -> int:
        return self._began[who]

    def oldest_ms(self, now_ms: int) -> int:
        """For how long the oldest has been on its way."""
        return now_ms - next(iter(self._began.values()), now_ms)

    def wait_ms(self, ahead: int, now_ms: int) -> float | None:
        """How long one waits with so many before it; None: too early to say.

        What is on its way takes as long as is usual, and what has taken longer already, as long again.
        """
        if self._usual_ms is None and self.oldest_ms(now_ms) < _NO_NEWS_MS:
            return None
        usual_ms = max(1.0, self._usual_ms or 0.0)
        late = list(takewhile(lambda age: age > usual_ms, (now_ms - began for began in self._began.values())))
        per_ms = (len(self._began) - len(late)) / usual_ms + sum(1 / age for age in late)
        return (ahead + 1) / per_ms if per_ms else None
