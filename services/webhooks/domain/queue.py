"""Which deliveries may start now: in order of their time, few at once and so many a second per endpoint, none at another's cost.

Pure and synchronous. Endpoints take turns. One that has nothing running starts its first request whatever the others
hold: only a limit on all sockets, which is far away, can delay it. What a breaker or a hold refuses stays as it is.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from services.webhooks.domain.breaker import Breaker, State
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.pace import Pace

RateOf = Callable[[str], float]  # of an endpoint: requests a second


@dataclass(frozen=True, slots=True)
class Limits:
    """Open requests: of one endpoint; of all before an endpoint's second one waits; of all."""

    per_endpoint: int
    shared: int
    total: int


@dataclass(slots=True, eq=False)
class _Lane:
    """One endpoint's part; its tests have one of their own, and its replays another."""

    name: str
    endpoint_id: str
    pace: Pace | None  # of the endpoint: its replays share it; a test has none
    last_in_turn: bool  # of the endpoint's pace it takes what others leave
    waiting: list[tuple[int, int, Delivery]] = field(default_factory=list)  # a heap by due time
    running: dict[str, bool] = field(default_factory=dict)  # delivery id: whether it is the breaker's probe
    breaker: Breaker = field(default_factory=Breaker)
    held_until_ms: int = 0
    wakes_at_ms: int | None = None


class Queue:
    """All pending deliveries of a process. Times are Unix ms."""

    def __init__(self, limits: Limits, rate_of: RateOf) -> None:
        self._limits = limits
        self._rate_of = rate_of
        self._paces: dict[str, Pace] = {}  # by endpoint
        self._order = count()
        self._pending: dict[str, Delivery] = {}
        self._lanes: dict[str, _Lane] = {}
        self._timers: list[tuple[int, int, _Lane]] = []  # a heap
        self._first: OrderedDict[str, _Lane] = OrderedDict()  # may start, and have nothing running
        self._more: OrderedDict[str, _Lane] = OrderedDict()  # may start beside what they have running
        self._overtaken = 0  # at most so many entries of heaps say nothing any more
        self.open = 0

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, delivery: Delivery) -> None:
        """A delivery, or what it has become; while an attempt of it runs it waits for that attempt's end."""
        self._overtaken += delivery.id in self._pending
        self._pending[delivery.id] = delivery
        lane = self._lanes.get(delivery.lane)
        if lane is None:
            lane = self._lanes[delivery.lane] = self._new_lane(delivery)
        if delivery.id not in lane.running:
            self._line_up(lane, delivery)

    def remove(self, delivery_id: str) -> None:
        """It is closed, or another process has it now. An attempt that runs goes on."""
        if self._pending.pop(delivery_id, None) is not None:
            self._overtaken += 1

    def take(self, now_ms: int) -> Sequence[Delivery]:
        """What starts now; each is to be given back by `end`."""
        while self._timers and self._timers[0][0] <= now_ms:
            at_ms, _, lane = heapq.heappop(self._timers)
            if at_ms == lane.wakes_at_ms:
                lane.wakes_at_ms = None
                self._place(lane, now_ms)
        taken = []
        while (lane_next := self._next()) is not None:
            starts_at_ms = self._starts_at_ms(lane_next)  # while it stood in line its first may have been closed
            if starts_at_ms is not None and starts_at_ms <= now_ms:
                taken.append(self._start(lane_next, now_ms))
            self._place(lane_next, now_ms)
        return taken

    def take_old(self, created_before_ms: int, limit: int) -> Sequence[Delivery]:
        """What nobody waits for any more, to be closed whatever the breaker says; given back by `end`, too."""
        old = [
            delivery
            for delivery in self._pending.values()
            if delivery.created_at_ms < created_before_ms and delivery.id not in self._lanes[delivery.lane].running
        ][:limit]
        for delivery in old:
            self._lanes[delivery.lane].running[delivery.id] = False
        self.open += len(old)
        return old

    def end(self, delivery: Delivery, *, failed: bool | None, now_ms: int) -> None:
        """An attempt is over. `failed` is for the breaker, None where no request told anything about the endpoint.

        The delivery starts again when it is due, unless it has been removed.
        """
        lane = self._lanes[delivery.lane]
        probe = lane.running.pop(delivery.id)
        self.open -= 1
        lane.breaker.ended(probe=probe, failed=failed, now_ms=now_ms)
        standing = self._pending.get(delivery.id)
        if standing is not None:
            self._line_up(lane, standing)
        self._place(lane, now_ms)

    def hold(self, name: str, until_ms: int) -> None:
        """Nothing starts in this lane before then. To be called while an attempt in it runs."""
        lane = self._lanes[name]
        lane.held_until_ms = max(lane.held_until_ms, until_ms)
        self._unready(lane)

    def wakes_at_ms(self) -> int | None:
        """When `take` should be called next, if nothing else happens."""
        return self._timers[0][0] if self._timers else None

    def oldest_ms(self) -> int | None:
        """The event time of the oldest pending delivery."""
        return min((delivery.created_at_ms for delivery in self._pending.values()), default=None)

    def breakers(self, now_ms: int) -> Mapping[State, int]:
        """How many endpoints' breakers are in which state."""
        return Counter(lane.breaker.state(now_ms) for lane in self._lanes.values())

    def sweep(self, now_ms: int) -> None:
        """Forget endpoints, and entries, of which there is nothing to remember."""
        for lane in list(self._lanes.values()):
            if self._top(lane) is None and not lane.running and lane.breaker.quiet(now_ms):
                self._unready(lane)
                lane.wakes_at_ms = None  # a timer may be left: it must not touch who has the name then
                del self._lanes[lane.name]
        known = {id(lane.pace) for lane in self._lanes.values()}
        self._paces = {endpoint_id: pace for endpoint_id, pace in self._paces.items() if id(pace) in known}
        if self._overtaken > len(self._pending):
            self._overtaken = 0
            for lane in self._lanes.values():
                lane.waiting = [entry for entry in lane.waiting if self._pending.get(entry[2].id) is entry[2]]
                heapq.heapify(lane.waiting)

    def _new_lane(self, delivery: Delivery) -> _Lane:
        pace = None
        if delivery.cause != "test":
            pace = self._paces.setdefault(delivery.endpoint_id, Pace())
        return _Lane(delivery.lane, delivery.endpoint_id, pace, last_in_turn=delivery.cause == "replay")

    def _line_up(self, lane: _Lane, delivery: Delivery) -> None:
        heapq.heappush(lane.waiting, (delivery.due_at_ms, next(self._order), delivery))
        self._wake(lane, delivery.due_at_ms)

    def _wake(self, lane: _Lane, at_ms: int) -> None:
        """Look at the lane at that time, if not before."""
        if lane.wakes_at_ms is None or at_ms < lane.wakes_at_ms:
            lane.wakes_at_ms = at_ms
            heapq.heappush(self._timers, (at_ms, next(self._order), lane))

    def _top(self, lane: _Lane) -> Delivery | None:
        """The first that waits; entries that something has overtaken are dropped here."""
        while lane.waiting:
            delivery = lane.waiting[0][2]
            if self._pending.get(delivery.id) is delivery and delivery.id not in lane.running:
                return delivery
            heapq.heappop(lane.waiting)
        return None

    def _place(self, lane: _Lane, now_ms: int) -> None:
        """Among those that may start now, or under the time to look again; else its next event brings it back."""
        at_ms = self._starts_at_ms(lane)
        if at_ms is None:
            self._unready(lane)
        elif at_ms > now_ms:
            self._unready(lane)
            self._wake(lane, at_ms)
        elif lane.running:
            self._first.pop(lane.name, None)
            self._more.setdefault(lane.name, lane)  # whoever stands in line keeps the place
        else:
            self._more.pop(lane.name, None)
            self._first.setdefault(lane.name, lane)

    def _starts_at_ms(self, lane: _Lane) -> int | None:
        """When the lane's first may start; None where only another event can tell."""
        delivery, opens_at_ms = self._top(lane), lane.breaker.opens_at_ms()
        if delivery is None or opens_at_ms is None or len(lane.running) >= self._limits.per_endpoint:
            return None
        in_pace_ms = 0
        if lane.pace is not None:
            in_pace_ms = lane.pace.ready_at_ms(self._rate_of(lane.endpoint_id), spare=lane.last_in_turn)
        return max(delivery.due_at_ms, lane.held_until_ms, opens_at_ms, in_pace_ms)

    def _unready(self, lane: _Lane) -> None:
        self._first.pop(lane.name, None)
        self._more.pop(lane.name, None)

    def _next(self) -> _Lane | None:
        """Whose turn it is."""
        if self._first and self.open < self._limits.total:
            return self._first.popitem(last=False)[1]
        if self._more and self.open < self._limits.shared:
            return self._more.popitem(last=False)[1]
        return None

    def _start(self, lane: _Lane, now_ms: int) -> Delivery:
        _, _, delivery = heapq.heappop(lane.waiting)
        if lane.pace is not None:
            lane.pace.take(self._rate_of(lane.endpoint_id), now_ms)
        lane.running[delivery.id] = lane.breaker.started()
        self.open += 1
        return delivery
