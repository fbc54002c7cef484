"""An owned partition: restored first, then in the queue, and gone with the ownership (R31, D97)."""

from dataclasses import dataclass, field, replace

from chassis.log import Incoming
from chassis.partition_owner import Tenure
from schemas.envelope import encode
from schemas.topics import TOPICS
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.ledger import Entry
from services.webhooks.domain.queue import Limits, Queue
from services.webhooks.domain.records import delivery_record, replay_record
from services.webhooks.domain.replay import Replay
from services.webhooks.handlers import DeliveryPartition
from tests.unit.webhooks.made import NOW_MS, Begun, a_delivery, a_replay, unpaced

TENURE = Tenure(-1, NOW_MS)


@dataclass(slots=True)
class Bench:
    queue: Queue = field(default_factory=lambda: Queue(Limits(per_endpoint=5, shared=20, total=80), unpaced))
    replays: Begun = field(default_factory=Begun)
    woken: int = 0
    offset: int = 0

    def partition(self) -> DeliveryPartition:
        return DeliveryPartition(0, self.queue, self.replays, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def record(self, entry: Entry | str) -> Incoming:
        """As it stands in the log; an id is a tombstone."""
        self.offset += 1
        match entry:
            case str():
                key, value = entry, None
            case Replay():
                key, value = entry.id, encode(replay_record(entry))
            case Delivery():
                key, value = entry.id, encode(delivery_record(entry))
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
    assert bench.woken == 1


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


async def test_a_replay_begins_with_the_first_tick_where_it_stands_and_ends_with_the_ownership() -> None:
    bench = Bench()
    partition = bench.partition()
    further = a_replay(1).with_left({"message-events/0": (5, 9)})
    for replay in (a_replay(1), further, a_replay(2), a_replay(1)):  # the last is the command, read again
        partition.apply(bench.record(replay))
    partition.apply(bench.record(a_replay(2).id))
    partition.apply(bench.record(a_replay(2)))
    assert bench.replays.running == {}
    step = await partition.tick(TENURE)
    assert bench.replays.running == {"rpl_1": further}
    assert [(record.key, record.value is None) for record in step.state] == [("rpl_1", False), ("rpl_2", True)]
    assert partition.replay("rpl_1") == further
    partition.close()
    assert bench.replays.running == {}
    assert partition.replay("rpl_1") is None


async def test_a_partition_knows_how_many_deliveries_of_a_replay_are_pending() -> None:
    bench = Bench()
    partition = bench.partition()
    await partition.tick(TENURE)
    first, second = (replace(a_delivery(number), cause="replay", replay_id="rpl_1") for number in (1, 2))
    for record in (first, second, first, first.again(NOW_MS), a_delivery(3)):
        partition.apply(bench.record(record))
    assert partition.waiting("rpl_1") == 2
    partition.settled(first.id, None)
    partition.apply(bench.record(first.id))
    partition.apply(bench.record(second.id))
    assert partition.waiting("rpl_1") == 0
