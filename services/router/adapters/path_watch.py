"""What senders tell of themselves and of their paths, folded into who lives and which path fares how (R20).

Judged by when it came to be known here, by our own clock: a sender whose clock is wrong is no dead one.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from chassis.clock import Clock
from rules.health import Tally, is_bad
from schemas.routing import PathHealth, SenderAlive

# A heartbeat comes each second. A sender that is silent for so long has lost its partitions, too (session time-out 10 s).
_ALIVE_FOR = 10.0
# What a sender measured counts for its window, and a little longer: it is told each second, or when something changes.
_LATE = 5.0
_SWEEP_EVERY = 5.0  # seconds: what was not told again has to lapse some time

Place = tuple[str, str]  # path, provider group


@dataclass(frozen=True, slots=True)
class Seen:
    """As `rules.routing.Paths` has it."""

    heard: frozenset[str]
    alive: frozenset[tuple[str, str]]
    bad: frozenset[Place]
    closed_until_ms: Mapping[Place, int]


class PathWatch:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: set[str] = set()
        self._senders: dict[str, tuple[SenderAlive, float]] = {}
        self._measured: dict[Place, dict[str, tuple[PathHealth, float]]] = defaultdict(dict)
        self._bad: set[Place] = set()
        self._closed: dict[Place, int] = {}
        self._doubtful: set[Place] = set()
        self._swept_at = float("-inf")

    def changed(
        self, key: str, before: PathHealth | SenderAlive | None, after: PathHealth | SenderAlive | None
    ) -> None:
        now = self._clock.monotonic()
        if isinstance(after, SenderAlive):
            self._heard.add(after.pool)
            self._senders[key] = (after, now)
        elif isinstance(before, SenderAlive):
            del self._senders[key]
        if isinstance(after, PathHealth):
            self._measured[_place(after)][key] = (after, now)
            self._doubtful.add(_place(after))
        elif isinstance(before, PathHealth):
            self._measured[_place(before)].pop(key, None)
            self._doubtful.add(_place(before))

    def look(self) -> Seen:
        now = self._clock.monotonic()
        if now - self._swept_at > _SWEEP_EVERY:
            self._swept_at = now
            self._doubtful.update(self._measured)
        for place in self._doubtful:
            self._judge(place, now)
        self._doubtful.clear()
        live = [sender for sender, at in self._senders.values() if now - at <= _ALIVE_FOR]
        # Mail of test keys goes nowhere: every sender can take it.
        alive = {(sender.pool, path) for sender in live for path in (*sender.paths, "sandbox")}
        return Seen(frozenset(self._heard), frozenset(alive), frozenset(self._bad), dict(self._closed))

    def _judge(self, place: Place, now: float) -> None:
        known = self._measured.get(place, {})
        fresh = [one for one, at in known.values() if now - at <= one.window_ms / 1000 + _LATE]
        if is_bad(place in self._bad, Tally.of(fresh)):
            self._bad.add(place)
        else:
            self._bad.discard(place)
        now_ms = self._clock.now_ms()
        ends = [
            one.closed_until_ms or 0 for one, _ in known.values() if one in fresh or (one.closed_until_ms or 0) > now_ms
        ]
        until_ms = min(ends, default=0)
        if until_ms:
            self._closed[place] = until_ms
        else:
            self._closed.pop(place, None)
        if not known:
            self._measured.pop(place, None)


def _place(measured: PathHealth) -> Place:
    return measured.path, measured.provider_group
