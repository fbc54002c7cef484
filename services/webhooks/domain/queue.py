"""What is still to be delivered, and what may start now: due order within an endpoint, fairness between endpoints.

Pure: time comes in. An endpoint that is slow, dead or has thousands waiting must never keep another's from starting.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.webhooks import WebhookDelivery
from services.webhooks.domain.breaker import Breaker


@dataclass(slots=True)
class Pending:
    """One delivery that is not over, and the topic's partition that holds it."""

    delivery: WebhookDelivery
    project_id: str
    partition: int
    running: bool = False


@dataclass(slots=True)
class Line:
    """One endpoint's deliveries."""

    breaker: Breaker = field(default_factory=Breaker)
    running: int = 0
    due: list[tuple[int, int, str]] = field(
        default_factory=list
    )  # (due_at_ms, attempt, id): stale entries are passed over


class Queue:
    """All deliveries of this process."""

    def __init__(self, *, per_endpoint: int, in_all: int) -> None:
        self._per_endpoint = per_endpoint
        self._in_all = in_all
        self._pending: dict[str, Pending] = {}
        self._lines: dict[str, Line] = {}
        self.running = 0

    def __len__(self) -> int:
        return len(self._pending)

    def oldest_ms(self) -> int | None:
        """When the oldest was made."""
        return min((pending.delivery.created_at_ms for pending in self._pending.values()), default=None)

    def open_breakers(self) -> int:
        return sum(line.breaker.half_open for line in self._lines.values())

    def put(self, delivery: WebhookDelivery, project_id: str, partition: int) -> None:
        """Add it, or take its next attempt; a repetition of what is known already changes nothing."""
        known = self._pending.get(delivery.id)
        if known is not None and delivery.attempt <= known.delivery.attempt:
            return
        running = known is not None and known.running
        self._pending[delivery.id] = Pending(delivery, project_id, partition, running)
        line = self._lines.setdefault(delivery.endpoint_id, Line())
        heapq.heappush(line.due, (delivery.due_at_ms, delivery.attempt, delivery.id))

    def remove(self, delivery_id: str) -> None:
        """It is over."""
        self._pending.pop(delivery_id, None)

    def drop_partition(self, partition: int) -> None:
        """Another process owns it now; what runs goes on, and its outcome is refused when it is to be written."""
        for delivery_id in [key for key, pending in self._pending.items() if pending.partition == partition]:
            del self._pending[delivery_id]

    def start_due(self, now_ms: int) -> list[Pending]:
        """What may start now, marked as running: endpoint by endpoint in turn, those with the fewest running first."""
        started: list[Pending] = []
        turns = sorted(self._lines.values(), key=lambda line: line.running)
        while turns and self.running < self._in_all:
            turns = [line for line in turns if self._start_one(line, now_ms, started)]
        return started

    def finished(self, pending: Pending, now_ms: int, *, delivered: bool | None) -> None:
        """A request is over. `delivered` None: none was made, so it says nothing about the endpoint."""
        line = self._lines[pending.delivery.endpoint_id]
        line.running -= 1
        self.running -= 1
        if delivered is not None:
            line.breaker.record(now_ms, delivered=delivered)
        current = self._pending.get(pending.delivery.id)
        if current is not None:
            current.running = False
            heapq.heappush(line.due, (current.delivery.due_at_ms, current.delivery.attempt, current.delivery.id))

    def postpone(self, pending: Pending, until_ms: int) -> None:
        """Not now, and no attempt is used: for what is our own fault."""
        current = self._pending.get(pending.delivery.id)
        if current is not None:
            current.delivery = current.delivery.model_copy(update={"due_at_ms": until_ms})

    def next_due_ms(self, now_ms: int) -> int | None:
        """When `start_due` is worth another call, if nothing ends before; None where only an end can help."""
        if self.running >= self._in_all:
            return None
        times = [due for line in self._lines.values() if (due := self._line_due(line)) is not None]
        return max(now_ms, min(times)) if times else None

    def _line_due(self, line: Line) -> int | None:
        self._discard_stale(line)
        if not line.due or line.running >= self._per_endpoint or (line.breaker.half_open and line.running):
            return None
        return max(line.due[0][0], line.breaker.open_until_ms)

    def _start_one(self, line: Line, now_ms: int, started: list[Pending]) -> bool:
        due = self._line_due(line)
        if self.running >= self._in_all or due is None or due > now_ms:
            return False
        _, _, delivery_id = heapq.heappop(line.due)
        pending = self._pending[delivery_id]
        pending.running = True
        line.running += 1
        self.running += 1
        started.append(pending)
        return True

    def _discard_stale(self, line: Line) -> None:
        """Drop entries of what is over, runs, or has a later attempt by now."""
        while line.due and not self._is_current(line.due[0]):
            heapq.heappop(line.due)

    def _is_current(self, entry: tuple[int, int, str]) -> bool:
        due_at_ms, attempt, delivery_id = entry
        pending = self._pending.get(delivery_id)
        if pending is None or pending.running:
            return False
        return (pending.delivery.due_at_ms, pending.delivery.attempt) == (due_at_ms, attempt)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._pending.values())
