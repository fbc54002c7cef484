"""Who may start: in time, few per endpoint, nobody at another's cost (R31)."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.queue import Limits, Queue
from tests.unit.webhooks.made import NOW_MS, a_delivery, unpaced

LIMITS = Limits(per_endpoint=5, shared=20, total=80)


def filled(*deliveries: Delivery, limits: Limits = LIMITS) -> Queue:
    queue = Queue(limits, unpaced)
    for delivery in deliveries:
        queue.put(delivery)
    return queue


def many(endpoint: str, count: int) -> list[Delivery]:
    return [a_delivery(number, endpoint=endpoint) for number in range(count)]


def ended(queue: Queue, deliveries: Sequence[Delivery], *, failed: bool | None, now_ms: int = NOW_MS) -> None:
    for delivery in deliveries:
        if failed is False:
            queue.remove(delivery.id)
        queue.end(delivery, failed=failed, now_ms=now_ms)


def test_nothing_starts_before_its_time_and_the_queue_says_when() -> None:
    queue = filled(a_delivery(due_at_ms=NOW_MS + 1000))
    assert queue.take(NOW_MS + 999) == []
    assert queue.wakes_at_ms() == NOW_MS + 1000
    assert len(queue.take(NOW_MS + 1000)) == 1
    assert queue.wakes_at_ms() is None


def test_the_earliest_due_starts_first() -> None:
    queue = filled(
        a_delivery(1, due_at_ms=NOW_MS - 1), a_delivery(2, due_at_ms=NOW_MS - 3), a_delivery(3, due_at_ms=NOW_MS - 2),
        limits=Limits(per_endpoint=1, shared=1, total=1),
    )  # fmt: skip
    started: list[Delivery] = []
    for _ in range(3):
        taken = queue.take(NOW_MS)
        started += taken
        ended(queue, taken, failed=False)
    assert [delivery.event_id for delivery in started] == ["evt_2", "evt_3", "evt_1"]


def test_no_delivery_runs_twice_at_a_time() -> None:
    queue = filled(a_delivery())
    (running,) = queue.take(NOW_MS)
    queue.put(a_delivery(attempt=2))  # the tail brings what another process wrote
    assert queue.take(NOW_MS) == []
    queue.end(running, failed=True, now_ms=NOW_MS)
    assert [delivery.attempt for delivery in queue.take(NOW_MS)] == [2]


def test_what_was_put_off_starts_again_and_what_was_removed_does_not() -> None:
    queue = filled(a_delivery(1), a_delivery(2))
    first, second = queue.take(NOW_MS)
    queue.remove(second.id)
    ended(queue, [first, second], failed=None)
    assert queue.take(NOW_MS) == [first]


def test_a_dead_endpoint_with_a_thousand_waiting_does_not_keep_another_from_starting() -> None:
    queue = filled(*many("dead", 1000))
    assert len(queue.take(NOW_MS)) == LIMITS.per_endpoint  # all of them hang
    queue.put(a_delivery(endpoint="alive"))
    assert [delivery.endpoint_id for delivery in queue.take(NOW_MS)] == ["alive"]


def test_even_where_hanging_endpoints_hold_all_shared_requests() -> None:
    queue = filled(*[delivery for number in range(30) for delivery in many(f"dead{number}", 10)])
    assert len(queue.take(NOW_MS)) >= LIMITS.shared
    queue.put(a_delivery(endpoint="alive"))
    assert [delivery.endpoint_id for delivery in queue.take(NOW_MS)] == ["alive"]


def test_endpoints_share_evenly() -> None:
    queue = filled(*many("a", 100), *many("b", 3), *many("c", 100), limits=Limits(per_endpoint=9, shared=9, total=9))
    assert Counter(delivery.endpoint_id for delivery in queue.take(NOW_MS)) == {"a": 3, "b": 3, "c": 3}


def test_the_breaker_refuses_without_using_an_attempt() -> None:
    queue = filled(*many("dead", 30))
    while taken := queue.take(NOW_MS):
        ended(queue, taken, failed=True)
    assert queue.breakers(NOW_MS) == {"open": 1}
    assert len(queue) == 30
    assert queue.wakes_at_ms() == NOW_MS + 30_000
    assert [delivery.attempt for delivery in queue.take(NOW_MS + 30_000)] == [1]  # the probe, alone
    assert queue.take(NOW_MS + 90_000) == []


def test_after_a_good_probe_the_rest_flows() -> None:
    queue = filled(*many("back", 30))
    while taken := queue.take(NOW_MS):
        ended(queue, taken, failed=True)
    later = NOW_MS + 30_000
    ended(queue, queue.take(later), failed=False, now_ms=later)
    assert len(queue.take(later)) == LIMITS.per_endpoint


def test_a_held_endpoint_waits_as_a_whole() -> None:
    queue = filled(*many("sealed", 3), limits=Limits(per_endpoint=1, shared=9, total=9))
    (running,) = queue.take(NOW_MS)
    queue.hold("sealed", NOW_MS + 60_000)
    queue.hold("sealed", NOW_MS + 500)  # a shorter hold does not end a longer one
    queue.end(running, failed=None, now_ms=NOW_MS)
    assert queue.take(NOW_MS + 59_999) == []
    assert len(queue.take(NOW_MS + 60_000)) == 1


def test_what_is_too_old_is_handed_out_whatever_the_breaker_says() -> None:
    queue = filled(*many("dead", 12))
    while taken := queue.take(NOW_MS):
        ended(queue, taken, failed=True)
    (probe,) = queue.take(NOW_MS + 30_000)
    old = queue.take_old(NOW_MS + 1, limit=100)
    assert len(old) == 11  # all but the one that runs
    assert queue.take_old(NOW_MS + 1, limit=100) == []
    ended(queue, [*old, probe], failed=False, now_ms=NOW_MS + 30_000)
    assert (len(queue), queue.open) == (0, 0)


def test_what_is_being_closed_for_its_age_does_not_start() -> None:
    queue = filled(a_delivery())
    (old,) = queue.take_old(NOW_MS + 1, limit=100)
    assert queue.take(NOW_MS) == []
    queue.end(old, failed=None, now_ms=NOW_MS)  # it could not be closed
    assert queue.take(NOW_MS) == [old]
    assert queue.take(NOW_MS) == []


def test_what_is_forgotten() -> None:
    queue = filled(a_delivery())
    ended(queue, queue.take(NOW_MS), failed=True)
    queue.sweep(NOW_MS)
    assert sum(queue.breakers(NOW_MS).values()) == 1
    queue.remove(a_delivery().id)
    queue.sweep(NOW_MS)
    assert sum(queue.breakers(NOW_MS).values()) == 1  # a failure is remembered for the breaker's window
    queue.sweep(NOW_MS + 300_000)
    assert sum(queue.breakers(NOW_MS).values()) == 0


def test_partitions_that_come_and_go_leave_nothing_behind() -> None:
    queue = Queue(LIMITS, unpaced)
    for _ in range(50):
        for number in range(100):
            queue.put(a_delivery(number, due_at_ms=NOW_MS + 9000))
        for number in range(100):
            queue.remove(a_delivery(number).id)
        queue.sweep(NOW_MS)
    assert sum(len(lane.waiting) for lane in queue._lanes.values()) == 0


@settings(deadline=None, max_examples=60)
@given(data=st.data(), shared=st.integers(1, 10), per_endpoint=st.integers(1, 4))
def test_an_endpoint_with_nothing_running_starts_at_once_whatever_the_others_do(
    data: st.DataObject, shared: int, per_endpoint: int
) -> None:
    """Endpoints hang, fail and succeed in any order; one that never failed and has something due is never kept waiting."""
    queue, now = Queue(Limits(per_endpoint, shared, 1000), unpaced), NOW_MS
    running: list[Delivery] = []
    failed: set[str] = set()
    for _ in range(data.draw(st.integers(1, 40))):
        endpoint = data.draw(st.sampled_from("abcdef"))
        for _ in range(data.draw(st.sampled_from([1, 1, 20]))):
            queue.put(a_delivery(len(queue) + now, endpoint=endpoint, due_at_ms=now))
        running += queue.take(now)
        for _ in range(data.draw(st.integers(0, min(3, len(running))))):
            delivery = running.pop(data.draw(st.integers(0, len(running) - 1)))
            outcome = data.draw(st.sampled_from([True, False]))
            failed |= {delivery.endpoint_id} if outcome else set()
            ended(queue, [delivery], failed=outcome, now_ms=now)
        now += data.draw(st.integers(0, 40_000))
        running += queue.take(now)

        holding = Counter(delivery.endpoint_id for delivery in running)
        waiting = {delivery.endpoint_id for delivery in queue._pending.values()}
        assert not (waiting - failed - set(holding))  # whoever waits, and never failed, has one running at least
        assert max(holding.values(), default=0) <= per_endpoint
        assert queue.open == len(running) <= shared + 6  # first requests go beyond what is shared
        assert len({delivery.id for delivery in running}) == len(running)
