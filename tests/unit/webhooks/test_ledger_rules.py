"""A partition's records in any order they may land: nothing closed is sent again, no attempt goes backwards (R31)."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chassis.log import Incoming, Outgoing
from chassis.partition_owner import Tenure
from schemas.envelope import encode
from schemas.topics import TOPICS
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.queue import Limits, Queue
from services.webhooks.domain.records import delivery_record
from services.webhooks.handlers import DeliveryPartition
from tests.unit.webhooks.made import NOW_MS, Begun, a_delivery, unpaced

TENURE = Tenure(0, NOW_MS)
TOPIC = TOPICS["webhook-deliveries"].name


class Log:
    """One partition of the topic, and a view of it that is fed as the owner does it."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None]] = []
        self.take_over()

    def take_over(self) -> None:
        self.queue = Queue(Limits(10, 100, 200), unpaced)
        self.view = DeliveryPartition(0, self.queue, Begun(), lambda: None)
        self.applied = 0
        self.read()

    def append(self, key: str, value: bytes | None) -> None:
        self.records.append((key, value))

    def read(self) -> None:
        while self.applied < len(self.records):
            key, value = self.records[self.applied]
            self.view.apply(Incoming(TOPIC, 0, self.applied, NOW_MS, key, value, ()))
            self.applied += 1

    async def tick(self) -> list[Outgoing]:
        step = await self.view.tick(TENURE)
        for record in (*step.state, *step.outputs):
            self.append(record.key, record.value)
        self.read()
        return [*step.state, *step.outputs]

    def compacted(self) -> None:
        last = dict(self.records)
        self.records = [(key, value) for key, value in last.items() if value is not None]


def value_of(delivery: Delivery) -> bytes:
    return encode(delivery_record(delivery))


def pending(log: Log) -> dict[str, int]:
    return {delivery.id: delivery.attempt for delivery in log.queue.take(NOW_MS + 10**12)}


FIRST = a_delivery(1)


async def test_r31_nothing_is_sent_before_the_partition_is_restored_and_owned() -> None:
    log = Log()
    log.append(FIRST.id, value_of(FIRST))
    log.read()
    assert len(log.queue) == 0
    await log.tick()
    assert pending(log) == {FIRST.id: 1}


async def test_r31_an_event_that_fan_out_reads_again_after_its_end_is_not_sent_again() -> None:
    log = Log()
    log.append(FIRST.id, value_of(FIRST))
    log.read()
    await log.tick()
    log.append(FIRST.id, None)
    log.append(FIRST.id, value_of(FIRST))
    log.read()
    assert len(log.queue) == 0
    assert [(record.key, record.value) for record in await log.tick()] == [(FIRST.id, None)]
    log.compacted()
    log.take_over()
    await log.tick()
    assert len(log.queue) == 0


async def test_r31_an_event_that_fan_out_reads_again_does_not_start_the_schedule_anew() -> None:
    log = Log()
    third = FIRST.again(NOW_MS + 5).again(NOW_MS + 10)
    for delivery in (FIRST, third, FIRST):
        log.append(delivery.id, value_of(delivery))
    log.read()
    await log.tick()
    log.compacted()
    log.take_over()
    await log.tick()
    assert pending(log) == {FIRST.id: 3}


async def test_r31_a_partition_that_is_left_takes_its_deliveries_along() -> None:
    log = Log()
    log.append(FIRST.id, value_of(FIRST))
    log.read()
    await log.tick()
    log.view.close()
    assert len(log.queue) == 0


async def test_r31_a_result_from_before_a_round_trip_of_the_partition_does_not_reopen_what_is_closed() -> None:
    """The partition went to another process, which delivered, and came back while our request was still running."""
    log = Log()
    log.append(FIRST.id, value_of(FIRST))
    log.append(FIRST.id, None)
    log.take_over()
    await log.tick()
    late = FIRST.again(NOW_MS + 5000)
    log.append(late.id, value_of(late))  # under our lease, so it was acked
    log.view.settled(FIRST.id, late)
    log.read()
    assert pending(log) == {}
    await log.tick()
    assert await log.tick() == []  # said once, not for ever
    assert log.records[-1] == (FIRST.id, None)


async def test_r31_a_result_from_before_a_round_trip_does_not_turn_attempts_back() -> None:
    log = Log()
    fifth = replace(FIRST, attempt=5, due_at_ms=NOW_MS + 9000)
    for delivery in (FIRST, fifth):
        log.append(delivery.id, value_of(delivery))
    log.take_over()
    await log.tick()
    late = FIRST.again(NOW_MS + 5000)
    log.append(late.id, value_of(late))
    log.view.settled(FIRST.id, late)
    log.read()
    await log.tick()
    assert await log.tick() == []
    assert pending(log) == {FIRST.id: 5}


@given(st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=1, max_size=12))
async def test_r31_whatever_lands_the_last_word_in_the_log_is_what_counts(said: list[int | None]) -> None:
    """Records and tombstones of one delivery in any order: after two ticks log and view agree, and it is quiet."""
    log = Log()
    await log.tick()
    for attempt in said:
        log.append(FIRST.id, None if attempt is None else value_of(replace(FIRST, attempt=attempt)))
        log.read()
    await log.tick()
    assert await log.tick() == []
    highest = None if None in said else max(attempt for attempt in said if attempt is not None)
    standing = pending(log)
    assert standing == ({} if highest is None else {FIRST.id: highest})
    log.compacted()
    log.take_over()
    await log.tick()
    assert pending(log) == standing
