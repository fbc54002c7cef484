"""So many requests a second, of which replays take what others leave (R31)."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.pace import Pace
from services.webhooks.domain.queue import Limits, Queue
from tests.unit.webhooks.made import NOW_MS, a_delivery

WIDE = Limits(per_endpoint=1000, shared=1000, total=1000)


@given(
    rate=st.floats(0.5, 50),
    waits=st.lists(st.integers(0, 3000), min_size=1, max_size=60),
    spare=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_in_no_second_more_than_the_rate_beyond_what_the_bucket_holds(
    rate: float, waits: list[int], spare: list[bool]
) -> None:
    pace, now_ms, taken = Pace(), NOW_MS, list[int]()
    for wait, last_in_turn in zip(waits, spare, strict=False):
        now_ms += wait
        if pace.ready_at_ms(rate, spare=last_in_turn) <= now_ms:
            pace.take(rate, now_ms)
            taken.append(now_ms)
    for i, first in enumerate(taken):
        for j, last in enumerate(taken[i:], start=1):
            assert j <= max(2, rate) + (last - first) * rate / 1000 + 1e-6


def started(queue: Queue, seconds: float) -> list[tuple[int, Delivery]]:
    """What starts until then, each with its time; every one ends at once."""
    found, now_ms, end_ms = [], NOW_MS, NOW_MS + round(seconds * 1000)
    while now_ms <= end_ms:
        for delivery in queue.take(now_ms):
            found.append((now_ms, delivery))
            queue.remove(delivery.id)
            queue.end(delivery, failed=False, now_ms=now_ms)
        wakes_at_ms = queue.wakes_at_ms()
        now_ms = end_ms + 1 if wakes_at_ms is None else max(now_ms + 1, wakes_at_ms)
    return found


def a_queue(deliveries: list[Delivery], rate: float) -> Queue:
    queue = Queue(WIDE, lambda endpoint: rate if endpoint == "whk_1" else 1e9)
    for delivery in deliveries:
        queue.put(delivery)
    return queue


def test_an_endpoint_is_called_no_faster_than_it_wants_and_another_is_not_slowed_down() -> None:
    queue = a_queue([a_delivery(n, endpoint=f"whk_{1 + n % 2}") for n in range(400)], rate=10)
    found = started(queue, 3)
    assert sum(delivery.endpoint_id == "whk_1" for _, delivery in found) == 10 + 3 * 10
    assert [at_ms for at_ms, delivery in found if delivery.endpoint_id == "whk_2"] == [NOW_MS] * 200


def test_a_refusal_of_the_pace_uses_no_attempt_and_keeps_the_order() -> None:
    found = started(a_queue([a_delivery(n, due_at_ms=NOW_MS - n) for n in range(30)], rate=10), 3)
    assert [delivery.attempt for _, delivery in found] == [1] * 30
    assert [delivery.id for _, delivery in found] == [a_delivery(n).id for n in reversed(range(30))]


def test_a_replay_leaves_half_of_the_bucket_to_what_happens_now() -> None:
    replayed = [replace(a_delivery(n), cause="replay", replay_id="rpl_1") for n in range(100)]
    queue = a_queue(replayed, rate=10)
    before = started(queue, 2)
    assert len(before) == 5 + 2 * 10  # the upper half, and then as fast as it is refilled
    for n in range(100, 104):
        queue.put(a_delivery(n, due_at_ms=NOW_MS + 2000))
    live = [delivery.id for delivery in queue.take(NOW_MS + 2001) if delivery.cause == "event"]
    assert live == [a_delivery(n).id for n in range(100, 104)]  # at once: not behind the rest of the replay
