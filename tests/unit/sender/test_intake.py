"""Deliveries in: restore, revoke, drain, and what is no delivery of ours (R23; D26, D60)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from chassis.ids import parse_message_id
from chassis.log import Incoming
from chassis.offset_tracker import Work
from schemas.deliveries import DELIVERIES, Delivery
from schemas.envelope import decode, encode, seal
from services.sender.domain.mime import Mail
from services.sender.domain.queue import Candidate
from services.sender.intake import Intake
from services.sender.ports import Carried, Gate, Way
from tests.kit.sender_ports import DELIVERED, PROJECT, Process, World
from tests.kit.waiting import until
from tests.unit.sender.test_mime import ID
from tests.unit.sender.test_mime import delivery as mime_delivery

PARTITION = getattr(parse_message_id(ID), "partition", -1)
TOPIC = "deliveries"


@dataclass(slots=True)
class Held(Process):
    """A process whose transactions wait for a word: before the claim (`slot`), or at the dot (`carry`)."""

    at_slot: asyncio.Event = field(default_factory=asyncio.Event)
    at_dot: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def slot(self, way: Way, mail: Candidate, *, within: float) -> AsyncIterator[Process]:
        del way, mail, within
        self.calls.append("slot")
        await self.at_slot.wait()
        yield self

    async def carry(self, way: Way, mail: Mail, gate: Gate, *, dot_by: float) -> Carried:
        del way, mail, gate, dot_by
        self.calls.append("carry")
        await self.at_dot.wait()
        return Carried(DELIVERED)


@dataclass(slots=True)
class Around:
    """The consumer, the journal's partitions and the dead letters, as the intake sees them; and the intake."""

    process: Held
    finished: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    buried: list[str] = field(default_factory=list)
    followed: list[tuple[int, str, int]] = field(default_factory=list)

    def intake(self) -> Intake:
        return Intake(self.process.attempts, self, self, self.bury, self.process, None, drain_within=0.5)

    def done(self, work: Work) -> None:
        self.finished.append(work.record.offset)

    def leave(self, work: Work) -> None:
        self.left.append(work.record.offset)

    async def bury(self, record: Incoming, reason: str) -> None:
        del record
        self.buried.append(reason)

    async def follow(self, partition: int, holder: str, since_ms: int) -> None:
        self.followed.append((partition, holder, since_ms))

    def release(self, partition: int, holder: str) -> None:
        self.followed = [entry for entry in self.followed if entry[:2] != (partition, holder)]


@pytest.fixture
def around() -> Around:
    return Around(Held(World(now_ms=1_790_000_010_000), "a"))


def incoming(offset: int = 0, item: Delivery | None = None) -> Incoming:
    item = item or mime_delivery(text="Hi")
    envelope = seal(item, record_id="rec_1", source="router", subject="s", time_ms=1, project_id=PROJECT)
    return Incoming(TOPIC, PARTITION, offset, item.created_at_ms, item.message_id, encode(envelope), ())


def work(offset: int = 0, item: Delivery | None = None) -> Work:
    record = incoming(offset, item)
    return Work(record, decode(record.value, DELIVERIES))


async def test_the_journal_is_read_from_the_oldest_open_delivery_on(around: Around) -> None:
    intake = around.intake()
    await intake.restore(TOPIC, PARTITION, incoming())
    await intake.restore("other lane", PARTITION, None)
    first = mime_delivery(text="Hi").first_dispatched_at_ms
    assert around.followed == [(PARTITION, TOPIC, first), (PARTITION, "other lane", around.process.now_ms())]
    intake.revoked([(TOPIC, PARTITION), ("never restored", 3)])
    assert [holder for _, holder, _ in around.followed] == ["other lane"]


async def test_done_is_said_when_the_router_was_told(around: Around) -> None:
    intake = around.intake()
    await intake.restore(TOPIC, PARTITION, None)
    around.process.at_slot.set()
    intake.begin(work(7))
    await until(lambda: "carry" in around.process.calls)
    assert around.finished == []
    around.process.at_dot.set()
    await until(lambda: around.finished == [7])
    assert len(around.process.world.inputs) == 1


async def test_a_revoke_ends_what_has_not_begun_and_lets_the_rest_be_reported(around: Around) -> None:
    intake = around.intake()
    await intake.restore(TOPIC, PARTITION, None)
    around.process.at_slot.set()
    intake.begin(work(1))
    await until(lambda: "carry" in around.process.calls)
    around.process.at_slot.clear()
    intake.begin(work(2, mime_delivery(text="Hi").model_copy(update={"attempt": 2})))
    await until(lambda: around.process.calls.count("slot") == 2)
    intake.revoked([(TOPIC, PARTITION)])
    around.process.at_slot.set()
    around.process.at_dot.set()
    await until(lambda: around.finished == [1])
    assert [entry.attempt for entry in around.process.world.journal] == [1, 1]
    assert around.process.calls.count("claim") == 1


async def test_a_stop_lets_begun_attempts_end_and_leaves_the_rest(around: Around) -> None:
    intake = around.intake()
    await intake.restore(TOPIC, PARTITION, None)
    around.process.at_slot.set()
    intake.begin(work(1))
    await until(lambda: "carry" in around.process.calls)
    around.process.at_slot.clear()
    intake.begin(work(2, mime_delivery(text="Hi").model_copy(update={"attempt": 2})))
    await until(lambda: around.process.calls.count("slot") == 2)
    stopping = asyncio.create_task(intake.stop())
    await asyncio.sleep(0)
    intake.begin(work(3))
    around.process.at_dot.set()
    await stopping
    assert (around.finished, sorted(around.left)) == ([1], [2, 3])


async def test_a_stop_does_not_wait_for_ever(around: Around) -> None:
    intake = around.intake()
    await intake.restore(TOPIC, PARTITION, None)
    around.process.at_slot.set()
    intake.begin(work(1))
    await until(lambda: "carry" in around.process.calls)
    await intake.stop()
    assert (around.finished, around.left) == ([], [1])
    around.process.at_dot.set()
    await until(lambda: around.finished == [1])


@pytest.mark.parametrize("message_id", ["junk", "msg_00000000000000000000000000000000"])
async def test_a_message_id_that_does_not_belong_here_is_poison(around: Around, message_id: str) -> None:
    """D26: the rest flows."""
    intake = around.intake()
    await intake.restore(TOPIC, PARTITION, None)
    item = mime_delivery(text="Hi").model_copy(update={"message_id": message_id})
    intake.begin(work(4, item))
    await until(lambda: around.finished == [4])
    assert len(around.buried) == 1
    assert around.process.world.journal == []
