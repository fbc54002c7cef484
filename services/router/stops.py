"""What of one partition's queues is stopped, kept in step with the tables: who stands behind a pause or waits for a path
is passed over by the calls, and let go in order when that ends. Only a flush makes inputs.

It goes by what stands, not by what was told: after a restart it begins anew, and a flush that is run twice is harmless.
"""

from collections.abc import Sequence

from rules.pauses import Pauses
from schemas.envelope import to_ms
from schemas.routing import QueueFlush
from services.router.domain.directions import Directions
from services.router.domain.pauses import Bar
from services.router.ports import Store, Timer
from services.router.queues import Queues

_PER_TICK = 5000  # messages stopped or let go: some 20 ms of the local file


class Stops:
    def __init__(self, store: Store, queues: Queues) -> None:
        self._store = store
        self._queues = queues
        self._bars = set(store.bars())
        self._pauses = Pauses()
        self._applied: set[Bar] = set()  # pauses: everybody who was in line at the time is behind them
        self._version: int | None = None  # of the routes
        self._leaving: set[Bar] = set()  # let go, a page with each tick
        self._flushed: dict[tuple[str, str, str], str] = {}  # when, of those carried out

    def bar(self, project_id: str, destination: str, waits_for: Sequence[str], directions: Directions) -> Bar | None:
        """What keeps a message in line from being called; remembered until that ends."""
        bar = directions.bar(project_id, destination, self._queues.group_of(destination), waits_for)
        if bar is not None:
            self._bars.add(bar)
        return bar

    def keep_up(self, directions: Directions) -> None:
        """Put bars up and take them away, as the tables say now. Who is let go may stand behind another one."""
        if directions.pauses is not self._pauses:
            self._tell(directions.pauses)
        rerouted, self._version = self._version != directions.version, directions.version
        self._leaving |= {b for b in self._bars if (rerouted and b.kind == "path") or not directions.holds(b)}
        for bar in list(self._leaving):
            self._let_go(bar)
        pauses = {Bar.of_pause(place) for place in self._pauses.standing if place[1] != "path"}
        for bar in pauses - self._applied:
            self._stop(bar)

    def flushed(self, directions: Directions) -> list[Timer]:
        """Who is to go now by somebody's wish, a page at a time until nobody is left."""
        return [timer for flush in directions.flushes for timer in self._flush(flush)]

    def _stop(self, bar: Bar) -> None:
        moved = self._store.stop(bar, _PER_TICK)
        self._queues.stopped(moved, 1)
        self._bars.add(bar)
        if sum(some.messages for some in moved) < _PER_TICK:
            self._applied.add(bar)

    def _let_go(self, bar: Bar) -> None:
        moved = self._store.let_go(bar, _PER_TICK)
        self._queues.stopped(moved, -1)
        self._applied.clear()
        if sum(some.messages for some in moved) < _PER_TICK:
            self._leaving.discard(bar)
            self._bars.discard(bar)

    def _tell(self, pauses: Pauses) -> None:
        for _, kind, name in pauses.standing ^ self._pauses.standing:
            self._queues.touch(kind, name)
        self._pauses = pauses
        self._applied.clear()

    def _flush(self, flush: QueueFlush) -> Sequence[Timer]:
        key = (flush.project_id, flush.kind, flush.name)
        if self._flushed.get(key) == flush.flushed_at:
            return ()
        at_ms = to_ms(flush.flushed_at)
        called = self._queues.flushed(lambda limit: self._store.flushed(flush, at_ms, limit))
        if not called and not self._store.flushed(flush, at_ms, 1):
            self._flushed[key] = flush.flushed_at
        return called
