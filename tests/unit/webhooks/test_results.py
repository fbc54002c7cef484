"""In which order a result comes into the log, and when it is given up (R31, D97)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chassis.log import LogUnavailable, Outgoing
from chassis.partition_owner import Tenure
from schemas.topics import TOPICS
from services.webhooks.adapters.results import OwnedResults
from services.webhooks.domain.outcome import Answered, judge
from services.webhooks.domain.records import Made, attempt_record
from tests.unit.webhooks.made import NOW_MS, a_delivery

ATTEMPTS, DELIVERIES = TOPICS["webhook-attempts"].name, TOPICS["webhook-deliveries"].name
MADE = Made(NOW_MS, 7, judge(Answered(500, None, ""), NOW_MS))
Answer = bool | type[LogUnavailable]


@dataclass(slots=True)
class Owner:
    """What `PartitionOwner` says of partition 0, with `answers` to the appends to come; then they all succeed."""

    answers: list[Answer] = field(default_factory=list)
    holds: bool = True
    elsewhere: bool = False
    stuck: set[int] = field(default_factory=set)  # partitions whose appends never end
    log: list[Outgoing] = field(default_factory=list)
    appends: list[int] = field(default_factory=list)  # how many records each has
    now: float = 0.0

    async def append(self, topic: str, partition: int, records: Sequence[Outgoing]) -> bool:
        self.appends.append(len(records))
        if partition in self.stuck:
            await asyncio.Event().wait()
        answer = self.answers.pop(0) if self.answers else True
        if answer is LogUnavailable:
            raise LogUnavailable("no ack")
        self.log += records if answer else []
        return bool(answer)

    def tenure(self, topic: str, partition: int) -> Tenure | None:
        return Tenure(1, NOW_MS) if self.holds else None

    def owned(self) -> Mapping[tuple[str, int], object]:
        return {(DELIVERIES, 1): object()} if self.elsewhere else {(DELIVERIES, 0): object(), (DELIVERIES, 1): object()}

    def ready(self) -> list[str]:
        return []

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def results_of(owner: Any) -> OwnedResults:
    return OwnedResults(owner, owner)


async def test_the_attempt_is_there_before_the_delivery_goes_on() -> None:
    owner, delivery = Owner(), a_delivery()
    following = delivery.again(NOW_MS + 5000)
    assert await results_of(owner).settle(delivery, attempt_record(delivery, MADE, following), following)
    assert [(record.topic, record.key) for record in owner.log] == [(ATTEMPTS, delivery.id), (DELIVERIES, delivery.id)]
    assert owner.log[1].partition == delivery.partition
    assert b'"attempt":2' in (owner.log[1].value or b"")


async def test_what_is_over_is_a_tombstone_in_its_own_partition() -> None:
    owner, delivery = Owner(), a_delivery()
    assert await results_of(owner).settle(delivery, None, None)
    assert owner.log == [Outgoing(DELIVERIES, delivery.id, None, delivery.partition)]


async def test_a_result_waits_for_the_log_and_for_its_lease() -> None:
    owner, delivery = Owner(answers=[LogUnavailable, False, True, LogUnavailable]), a_delivery()
    assert await results_of(owner).settle(delivery, attempt_record(delivery, MADE, None), None)
    assert [record.topic for record in owner.log] == [ATTEMPTS, DELIVERIES]


async def test_without_its_attempt_in_the_log_a_delivery_does_not_go_on() -> None:
    owner, delivery = Owner(answers=[False] * 1000), a_delivery()
    assert not await results_of(owner).settle(delivery, attempt_record(delivery, MADE, None), None)
    assert owner.log == []
    assert owner.now < 20


async def test_a_partition_that_others_have_is_not_waited_for() -> None:
    owner, delivery = Owner(answers=[False] * 1000, elsewhere=True, holds=False), a_delivery()
    assert not await results_of(owner).settle(delivery, None, None)
    assert not await results_of(owner).may_start(0)
    assert owner.now < 0.1


async def test_what_ends_in_the_same_moment_is_written_together_partition_by_partition() -> None:
    owner = Owner()
    results, deliveries = results_of(owner), [replace(a_delivery(), id=f"whd_{n}", partition=n % 2) for n in range(10)]
    settling = (results.settle(one, attempt_record(one, MADE, None), None) for one in deliveries)
    assert all(await asyncio.gather(*settling))
    assert owner.appends == [5, 5, 5, 5]
    assert [record.topic for record in owner.log] == [ATTEMPTS] * 10 + [DELIVERIES] * 10
    assert {record.key: record.partition for record in owner.log} == {one.id: one.partition for one in deliveries}


async def test_a_result_that_is_not_taken_does_no_harm_to_those_beside_it() -> None:
    owner = Owner(answers=[LogUnavailable, LogUnavailable])  # of all three, then of the first alone
    results, deliveries = results_of(owner), [replace(a_delivery(), id=f"whd_{n}") for n in range(3)]
    assert all(await asyncio.gather(*(results.settle(one, None, None) for one in deliveries)))
    assert owner.appends == [3, 1, 1, 1, 1]
    assert {record.key for record in owner.log} == {"whd_0", "whd_1", "whd_2"}


async def test_one_whose_attempt_is_cancelled_takes_no_other_with_it() -> None:
    owner, delivery = Owner(), a_delivery()
    results = results_of(owner)
    first, second = (asyncio.create_task(results.settle(one, None, None)) for one in (delivery, delivery))
    await asyncio.sleep(0)
    first.cancel()
    assert await second


async def test_a_partition_whose_broker_is_away_holds_up_no_other() -> None:
    owner, delivery = Owner(stuck={0}), a_delivery()
    results = results_of(owner)
    waiting = asyncio.create_task(results.settle(replace(delivery, partition=0), None, None))
    await asyncio.sleep(0)
    assert await results.settle(replace(delivery, partition=1), None, None)
    waiting.cancel()


async def test_the_right_to_start_is_the_lease() -> None:
    assert await results_of(Owner()).may_start(0)
