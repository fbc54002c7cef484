"""One sender process: the real intake, attempts and journal on the brokers in memory, and a mail server that is a model."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from aiokafka import TopicPartition

from chassis.log import Incoming
from chassis.offset_tracker import Work
from chassis.table import Table
from schemas.deliveries import DELIVERIES, Delivery
from schemas.envelope import decode
from schemas.mail import Phase
from schemas.tables import Suppression
from schemas.topics import TOPICS, deliveries
from services.sender.adapters.inputs import LoggedInputs
from services.sender.adapters.journal import AttemptJournal
from services.sender.adapters.sandbox import LoggedSandbox
from services.sender.adapters.suppressions import SuppressionIndex
from services.sender.domain.mime import Mail, compose
from services.sender.domain.outcome import Outcome, classify, lost
from services.sender.domain.queue import Candidate
from services.sender.domain.replies import Reply
from services.sender.domain.reports import Hop, path_of
from services.sender.handlers import Attempts
from services.sender.intake import Intake
from services.sender.ports import Carried, Gate, NoRoom, Way
from tests.kit.sender_ports import TIMING
from tests.simulation.cluster import Cluster, SimulatedLog, SimulatedTables, SimulatedTail
from tests.simulation.faults import Faults
from tests.simulation.group import Group, Seat
from tests.simulation.process import Process

TOPIC, SUPPRESSIONS = deliveries("main", "standard"), TOPICS["suppressions"]
# What the server says, at which command, and how often; "" is a connection that breaks there.
_ANSWERS: tuple[tuple[Phase, str, int], ...] = (
    ("reply", "250 2.0.0 Ok", 50),
    ("connect", "", 6),
    ("greeting", "421 4.3.2 Busy", 3),
    ("rcpt", "450 4.2.1 Come back", 12),
    ("rcpt", "550 5.1.1 No such user", 3),
    ("rcpt", "554 5.7.1 Go away", 3),
    ("data", "451 4.3.0 Try again", 3),
    ("body", "", 3),
    ("reply", "451 4.3.0 Try again", 5),
    ("reply", "552 5.2.2 Full", 3),
    ("reply", "", 9),
)


@dataclass(slots=True)
class MailServer:
    """Keeps what it has answered for with 250, and half of what it could not answer for."""

    faults: Faults
    now_ms: Callable[[], int]
    copies: Counter[str] = field(default_factory=Counter)  # by message id
    begun: list[tuple[str, str, int]] = field(default_factory=list)  # DATA: message id, recipient, when (ms)

    def answer(self) -> tuple[Phase, str]:
        if self.faults.healed and self.faults.random.random() < 0.8:
            return "reply", "250 2.0.0 Ok"
        phase, reply, _ = self.faults.random.choices(_ANSWERS, [weight for _, _, weight in _ANSWERS])[0]
        return phase, reply

    def take(self, message_id: str, reply: str) -> None:
        """The final dot has come."""
        if reply.startswith("250") or (reply == "" and self.faults.random.random() < 0.5):
            self.copies[message_id] += 1


class SimulatedCarrier:
    """`services.sender.adapters.smtp.SmtpCarrier`, phase by phase; at each the process may die, freeze, or be late."""

    def __init__(self, server: MailServer, process: Process) -> None:
        self._server = server
        self._process = process
        self._random = server.faults.random

    async def carry(self, way: Way, mail: Mail, gate: Gate, *, dot_by: float) -> Carried:
        del way
        hop = Hop(mx_host="mx.example.org")
        fails_at, reply = self._server.answer()
        for phase in ("connect", "greeting", "rcpt"):
            await self._take_time()
            if phase == fails_at:
                return Carried(_ended(fails_at, reply), hop)
        await gate.settle()
        await self._process.gate()
        if (stop := gate.before_data()) is not None:
            return Carried(stop, hop)
        message_id = mail.data.decode().partition("Message-ID: <")[2].partition("@")[0]
        self._server.begun.append((message_id, mail.recipient, self._server.now_ms()))
        await self._take_time()
        if fails_at == "data":
            return Carried(_ended(fails_at, reply), hop)
        if (stop := gate.before_body()) is not None:
            return Carried(stop, hop)
        await self._take_time()
        if fails_at == "body" or self._process.monotonic() >= dot_by:
            return Carried(lost("body", "too slow"), hop)
        self._server.take(message_id, reply)
        await self._take_time()
        return Carried(_ended("reply", reply), hop)

    async def _take_time(self) -> None:
        """Mostly milliseconds, now and then more than the deadline."""
        slow = not self._server.faults.healed and self._random.random() < 0.04
        await self._process.sleep(self._random.uniform(1, 90) if slow else self._random.uniform(0.001, 0.05))


def _ended(phase: Phase, reply: str) -> Outcome:
    return lost(phase, "connection lost") if not reply else classify(phase, Reply(int(reply[:3]), reply))


class _Mails:
    @asynccontextmanager
    async def written(self, delivery: Delivery, project_id: str, *, within: float) -> AsyncIterator[Mail]:
        yield compose(delivery)


class _Ways:
    async def of(self, delivery: Delivery, project_id: str) -> Way:
        return Way(path_of(delivery), delivery.destination)


@dataclass(slots=True)
class _Slots:
    """Free, but where the faults say otherwise."""

    faults: Faults
    process: Process

    def check(self, way: Way, mail: Candidate) -> None:
        """There is."""

    def tell(self, carried: Carried) -> None:
        """Nothing is learned."""

    @asynccontextmanager
    async def slot(self, way: Way, mail: Candidate, *, within: float) -> AsyncIterator["_Slots"]:
        if self.faults.happens("no room"):
            await self.process.sleep(self.faults.random.choice([0.01, 1, within]) * self.faults.random.random())
            if self.faults.random.random() < 0.7:
                raise NoRoom
        yield self


@dataclass(slots=True)
class _Held:
    """One assigned partition: what is handed out, and how far everything before is done."""

    next_offset: int
    open: bool = False
    work: dict[int, Work] = field(default_factory=dict)
    reading: bool = False

    @property
    def first_open(self) -> int:
        return min(self.work, default=self.next_offset)


class SenderProcess:
    """Implements `tests.simulation.group.Member`, and what the intake and the attempts ask of their consumer."""

    def __init__(self, cluster: Cluster, process: Process, group: Group, server: MailServer, skew_ms: int) -> None:
        self.process = process
        self.seat = Seat(group, process)
        self._cluster = cluster
        self._held: dict[TopicPartition, _Held] = {}
        self._opening: dict[TopicPartition, asyncio.Task[None]] = {}
        self._log = log = SimulatedLog(cluster, process, skew_ms)
        tail, self._table_tail = SimulatedTail(cluster, process), SimulatedTail(cluster, process)
        tables = SimulatedTables(self._table_tail, process, SUPPRESSIONS.name)
        self._table = Table(SUPPRESSIONS, Suppression, cast("Any", log), cast("Any", self._table_tail), process)
        journal = AttemptJournal(cast("Any", log), cast("Any", tail), process)
        attempts = Attempts(
            owner=process.name,
            timing=TIMING,
            clock=process,
            broker_clock=log,
            journal=journal,
            inputs=LoggedInputs(cast("Any", log)),
            suppressed=SuppressionIndex(cast("Any", tables), self._table),
            mails=_Mails(),
            ways=_Ways(),
            slots=_Slots(server.faults, process),
            carrier=SimulatedCarrier(server, process),
            sandbox=LoggedSandbox(cast("Any", log)),
            rights=self,
        )
        self._intake = Intake(attempts, self, journal, self._bury, log, cast("Any", process), drain_within=10)
        process.on_thaw.append(self._read_all)

    async def start(self) -> None:
        await self._table_tail.follow(SUPPRESSIONS.name, 0, self._table.apply)
        await self._table_tail.caught_up(SUPPRESSIONS.name, 0, within=60)
        self.seat.group.join(self)

    # the group's word

    def assigned(self, place: TopicPartition) -> None:
        self._opening[place] = self.process.spawn(self._open(place))

    async def revoked(self, place: TopicPartition) -> None:
        held, opening = self._held.pop(place, None), self._opening.pop(place, None)
        if opening is not None:
            opening.cancel()
        self._cluster.unwatch((place.topic, place.partition), self._landed)
        if held is not None:
            self._intake.revoked([(place.topic, place.partition)])
            await self.seat.commit_at(place, held.first_open)

    async def _open(self, place: TopicPartition) -> None:
        stored = await self.seat.stored(place)
        held = self._held[place] = _Held(0 if stored is None else stored.offset)
        records = self._cluster.records(*place)
        first = records[held.next_offset] if held.next_offset < len(records) else None
        await self._intake.restore(place.topic, place.partition, first)
        held.open = True
        self._cluster.watch((place.topic, place.partition), self._landed)
        self._landed((place.topic, place.partition))

    def _landed(self, where: tuple[str, int]) -> None:
        held = self._held.get(TopicPartition(*where))
        if held is not None and not held.reading:
            held.reading = True
            self.process.later(self._cluster.faults.lag(), self._read, TopicPartition(*where), held)

    def _read(self, place: TopicPartition, held: _Held) -> None:
        held.reading = False
        if self.process.dead or self.process.frozen_at is not None or self._held.get(place) is not held:
            return
        for record in self._cluster.records(*place)[held.next_offset :]:
            held.next_offset = record.offset + 1
            held.work[record.offset] = work = Work(record, decode(record.value, DELIVERIES))
            self._intake.begin(work)

    def _read_all(self) -> None:
        for place in self._held:
            self._landed((place.topic, place.partition))

    # chassis.offset_tracker, as the intake and the attempts see it

    def done(self, work: Work) -> None:
        place = TopicPartition(work.record.topic, work.record.partition)
        held = self._held.get(place)
        if held is not None and held.work.get(work.record.offset) is work:
            del held.work[work.record.offset]
            self.process.spawn(self._commit(place, held))

    async def _commit(self, place: TopicPartition, held: _Held) -> None:
        await asyncio.sleep(0.1)
        if self._held.get(place) is held:
            await self.seat.commit_at(place, held.first_open)

    def leave(self, work: Work) -> None:
        """Nobody is told to stop here."""

    def holds(self, topic: str, partition: int) -> bool:
        held = self._held.get(TopicPartition(topic, partition))
        return held is not None and held.open and self.seat.remaining() > 0

    def lease_ends_ms(self) -> int:
        return self._log.broker_now_ms() + int(max(0.0, self.seat.remaining()) * 1000)

    async def _bury(self, record: Incoming, reason: str) -> None:
        raise AssertionError(f"a delivery that nobody can read: {reason}")
