"""An owned partition: restored first, then in the queue, and gone with the ownership (R31, D97)."""

from dataclasses import dataclass, field

from chassis.log import Incoming
from chassis.partition_owner import Tenure
from schemas.envelope import encode
from schemas.topics import TOPICS
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.queue import Limits, Queue
from services.webhooks.domain.records import delivery_record
from services.webhooks.handlers import DeliveryPartition
from tests.unit.webhooks.made import NOW_MS, a_delivery

TENURE = Tenure(-1, NOW_MS)


@dataclass(slots=True)
class Bench:
    queue: Queue = field(default_factory=lambda: Queue(Limits(per_endpoint=5, shared=20, total=80)))
    woken: int = 0
    offset: int = 0

    def partition(self) -> DeliveryPartition:
        return DeliveryPartition(0, self.queue, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def record(self, delivery: Delivery | str) -> Incoming:
        """As it stands in the log; an id is a tombstone."""
        self.offset += 1
        key, value = (delivery, None) if isinstance(delivery, str) else (delivery.id, encode(delivery_record(delivery)))
        return Incoming(TOPICS["webhook-deliveries"].name, 0, self.offset, NOW_MS, key, value, ())


async def test_nothing_starts_before_the_partition_is_restored() -> None:
    bench = Bench()
    partition = bench.partition()
    partition.apply(bench.record(a_delivery(1)))
    partition.apply(bench.record(a_delivery(2)))
    assert bench.queue.take(NOW_MS) == []
    partition.apply(bench.record(a_delivery(1).id))  # delivered long ago: the log says so further on
    await partition.tick(TENURE)
    assert (bench.woken, bench.queue.take(NOW_MS)) == (1, [a_delivery(2)])


async def test_once_restored_a_delivery_starts_as_soon_as_it_is_read() -> None:
    bench = Bench()
    partition = bench.partition()
    await partition.tick(TENURE)
    partition.apply(bench.record(a_delivery()))
    (taken,) = bench.queue.take(NOW_MS)
    assert taken == a_delivery()
    assert bench.woken == 2


async def test_a_result_counts_at_once_and_its_record_changes_nothing_more() -> None:
    bench = Bench()
    partition = bench.partition()
    await partition.tick(TENURE)
    partition.apply(bench.record(a_delivery()))
    (taken,) = bench.queue.take(NOW_MS)
    following = taken.again(NOW_MS + 5000)
    partition.settled(taken.id, following)
    bench.queue.end(taken, failed=True, now_ms=NOW_MS)
    assert bench.queue.take(NOW_MS) == []
    partition.apply(bench.record(following))
    assert bench.queue.take(NOW_MS + 5000) == [following]
    assert bench.queue.take(NOW_MS + 5000) == []


async def test_what_is_said_again_is_overruled_in_the_log() -> None:
    bench = Bench()
    partition = bench.partition()
    partition.apply(bench.record(a_delivery(1)))
    partition.apply(bench.record(a_delivery(1).id))
    partition.apply(bench.record(a_delivery(2, attempt=3)))
    for number in (1, 2):
        partition.apply(bench.record(a_delivery(number)))
    step = await partition.tick(TENURE)
    assert [(record.key, record.partition, record.value is None) for record in step.state] == [
        (a_delivery(1).id, 0, True),
        (a_delivery(2).id, 0, False),
    ]
    assert [delivery.attempt for delivery in bench.queue.take(NOW_MS)] == [3]
    for record in step.state:
        partition.apply(Incoming(record.topic, 0, 99, NOW_MS, record.key, record.value, ()))
    assert (await partition.tick(TENURE)).state == []


async def test_a_partition_that_is_gone_leaves_the_queue_and_stays_out_of_it() -> None:
    bench = Bench()
    partition = bench.partition()
    partition.apply(bench.record(a_delivery(1)))
    partition.apply(bench.record(a_delivery(2)))
    await partition.tick(TENURE)
    (running, _) = bench.queue.take(NOW_MS)
    partition.close()
    assert len(bench.queue) == 0
    partition.settled(running.id, running.again(NOW_MS))
    bench.queue.end(running, failed=True, now_ms=NOW_MS)
    assert bench.queue.take(NOW_MS) == []
