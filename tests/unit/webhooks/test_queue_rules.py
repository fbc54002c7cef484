"""The queue under any order of calls: nobody starves, nobody starts twice, or early, or beyond a limit (R31)."""

from dataclasses import replace
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.queue import Limits, Queue
from tests.unit.webhooks.made import NOW_MS, a_delivery, unpaced

LIMITS = Limits(per_endpoint=2, shared=3, total=5)
ENDPOINTS = [f"whk_{n}" for n in range(7)]  # more than may be open in all


def delivery_to(endpoint: str, number: int, *, due: int = NOW_MS) -> Delivery:
    return a_delivery(number, endpoint=endpoint, due_at_ms=due)


def test_r31_what_stands_in_line_for_a_socket_is_looked_at_again_when_it_is_its_turn() -> None:
    """What was due is closed meanwhile; what is behind it is due in five hours, and must wait for that."""
    queue = Queue(Limits(per_endpoint=1, shared=1, total=1), unpaced)
    queue.put(delivery_to("other", 1))
    (running,) = queue.take(NOW_MS)
    queue.put(delivery_to("one", 1))
    queue.put(delivery_to("one", 2, due=NOW_MS + 18_000_000))
    assert queue.take(NOW_MS) == []
    queue.remove(delivery_to("one", 1).id)
    queue.remove(running.id)
    queue.end(running, failed=False, now_ms=NOW_MS)
    assert queue.take(NOW_MS) == []
    assert [found.event_id for found in queue.take(NOW_MS + 18_000_000)] == ["evt_2"]


def test_r31_an_endpoint_that_was_forgotten_does_not_disturb_itself_when_it_comes_back() -> None:
    queue = Queue(Limits(per_endpoint=1, shared=1, total=1), unpaced)
    queue.put(delivery_to("one", 1, due=NOW_MS + 1000))
    queue.remove(delivery_to("one", 1).id)
    queue.sweep(NOW_MS)
    queue.put(delivery_to("other", 1))
    (running,) = queue.take(NOW_MS)
    queue.put(delivery_to("one", 2))
    assert queue.take(NOW_MS) == []  # no socket
    queue.take(NOW_MS + 1000)  # when the forgotten one would have been due
    queue.remove(running.id)
    queue.end(running, failed=False, now_ms=NOW_MS + 1000)
    assert [found.event_id for found in queue.take(NOW_MS + 1000)] == ["evt_2"]


class QueueRules(RuleBasedStateMachine):
    """Everything a dispatcher may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(LIMITS, unpaced)
        self.now = NOW_MS
        self.pending: dict[str, Delivery] = {}
        self.open: dict[str, Delivery] = {}
        self.held: dict[str, int] = {}
        self.numbers = 0

    @rule(endpoint=st.sampled_from(ENDPOINTS), wait=st.sampled_from([0, 0, 1000, 60_000]))
    def comes(self, endpoint: str, wait: int) -> None:
        self.numbers += 1
        delivery = delivery_to(endpoint, self.numbers, due=self.now + wait)
        self.pending[delivery.id] = delivery
        self.queue.put(delivery)

    @rule(chosen=st.randoms(use_true_random=False))
    def goes(self, chosen: Random) -> None:
        """Closed, or another process's: also while it runs."""
        if self.pending:
            key = chosen.choice(sorted(self.pending))
            del self.pending[key]
            self.queue.remove(key)

    @rule(chosen=st.randoms(use_true_random=False), wait=st.sampled_from([0, 5000]))
    def becomes(self, chosen: Random, wait: int) -> None:
        """Its next attempt."""
        if self.pending:
            key = chosen.choice(sorted(self.pending))
            self.pending[key] = self.pending[key].again(self.now + wait)
            self.queue.put(self.pending[key])

    @rule(chosen=st.randoms(use_true_random=False))
    def comes_back(self, chosen: Random) -> None:
        """The partition is lost and owned again while requests run."""
        if self.pending:
            key = chosen.choice(sorted(self.pending))
            self.queue.remove(key)
            self.pending[key] = replace(self.pending[key])
            self.queue.put(self.pending[key])

    @rule(seconds=st.sampled_from([0, 1, 31, 400]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule(
        chosen=st.randoms(use_true_random=False), failed=st.sampled_from([True, True, False, None]), hold=st.booleans()
    )
    def ends(self, chosen: Random, failed: bool | None, hold: bool) -> None:
        if not self.open:
            return
        delivery = self.open.pop(chosen.choice(sorted(self.open)))
        if hold:
            self.held[delivery.endpoint_id] = max(self.held.get(delivery.endpoint_id, 0), self.now + 500)
            self.queue.hold(delivery.endpoint_id, self.now + 500)
        elif failed is not None:
            self.pending.pop(delivery.id, None)
            self.queue.remove(delivery.id)
        self.queue.end(delivery, failed=failed, now_ms=self.now)

    @rule()
    def sweeps(self) -> None:
        self.queue.sweep(self.now)

    @rule()
    def takes(self) -> None:
        for delivery in self.queue.take(self.now):
            assert delivery.id not in self.open, "started twice at once"
            assert self.pending.get(delivery.id) is delivery, "started, though it is over"
            assert delivery.due_at_ms <= self.now, "started early"
            assert self.now >= self.held.get(delivery.endpoint_id, 0), "started on hold"
            self.open[delivery.id] = delivery
        busy = [delivery.endpoint_id for delivery in self.open.values()]
        assert len(busy) <= LIMITS.total
        assert all(busy.count(endpoint) <= LIMITS.per_endpoint for endpoint in busy)
        if len(busy) < LIMITS.total:
            states = self.queue.breakers(self.now)
            if states.get("open", 0) == states.get("half_open", 0) == 0:
                self._nobody_starves(busy)

    def _nobody_starves(self, busy: list[str]) -> None:
        for delivery in self.pending.values():
            idle = delivery.endpoint_id not in busy and self.now >= self.held.get(delivery.endpoint_id, 0)
            assert not (idle and delivery.due_at_ms <= self.now), "could start, and does not"

    @invariant()
    def counts(self) -> None:
        assert self.queue.open == len(self.open)
        assert len(self.queue) == len(self.pending)


TestQueueRules = QueueRules.TestCase
TestQueueRules.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
