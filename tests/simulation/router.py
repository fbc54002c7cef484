"""One router process: the real partition and the real tenancy (order of writing, fence, lease) on the brokers in memory."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from aiokafka import TopicPartition

from chassis.failures import DeadLetters
from chassis.ownership import OwnedPartition
from chassis.progress import Progress
from chassis.rounds import Rounds
from chassis.table import Table
from chassis.tenancy import FedTenancy, Tools
from schemas.tables import Suppression
from schemas.topics import TOPICS, Topic, message_inputs, message_state
from services.router.adapters.ladders import ProjectLadders
from services.router.adapters.routing_index import RoutingIndex
from services.router.adapters.store import open_store
from services.router.adapters.submissions import LoggedSubmissions
from services.router.adapters.suppressions import SuppressionIndex
from services.router.batch import Place
from services.router.domain.ladder import Ladder
from services.router.handlers import RouterPartition
from tests.simulation.cluster import Cluster, SimulatedLog, SimulatedTables, SimulatedTail
from tests.simulation.group import Group, Seat
from tests.simulation.process import Process

LADDER = Ladder.of([timedelta(seconds=seconds) for seconds in (30, 300, 1800, 7200, 18000)])  # R22
INPUTS, STATES, SUPPRESSIONS = message_inputs("standard"), message_state("standard"), TOPICS["suppressions"]
_IDLE_TICK = 60.0  # seconds: a day has 864,000 ticks, and nothing happens in nearly all of them


class _Tenancy(FedTenancy):
    """Ticks more and more seldom while nothing comes."""

    _idle = 0.1

    async def _tick(self) -> None:
        await super()._tick()
        self._idle = min(self._idle * 2, _IDLE_TICK)
        self._tick_due += self._idle

    def receive(self, records: Any) -> None:
        super().receive(records)
        self._idle = 0.1
        self._tick_due = min(self._tick_due, self._tools.clock.monotonic() + self._idle)


class _Fetcher:
    """The consumer as the tenancies see it: paused, sought and resumed; hands out batches of any size."""

    def __init__(self, cluster: Cluster, process: Process, tenancies: dict[TopicPartition, _Tenancy]) -> None:
        self._cluster = cluster
        self._process = process
        self._tenancies = tenancies
        self._next: dict[TopicPartition, int] = {}
        self._resumed: set[TopicPartition] = set()
        self._fetching: dict[TopicPartition, bool] = defaultdict(bool)
        process.on_thaw.append(self._fetch_all)

    def assignment(self) -> set[TopicPartition]:
        return set(self._tenancies)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._next[place] = offset

    def pause(self, place: TopicPartition) -> None:
        self._resumed.discard(place)

    def resume(self, place: TopicPartition) -> None:
        self._resumed.add(place)
        self.landed((place.topic, place.partition))

    def highwater(self, place: TopicPartition) -> int:
        return len(self._cluster.records(*place))

    def landed(self, where: tuple[str, int]) -> None:
        place = TopicPartition(*where)
        if not self._fetching[place]:
            self._fetching[place] = True
            self._process.later(self._cluster.faults.lag(), self._fetch, place)

    def _fetch(self, place: TopicPartition) -> None:
        self._fetching[place] = False
        tenancy = self._tenancies.get(place)
        silent = self._process.dead or self._process.frozen_at is not None
        if silent or tenancy is None or place not in self._resumed:
            return
        waiting = self._cluster.records(*place)[self._next[place] :]
        if tenancy.full:
            self._fetching[place] = True
            self._process.later(0.5, self._fetch, place)
            return
        if waiting:
            taken = waiting[: self._cluster.faults.random.randint(1, 8)]
            self._next[place] += len(taken)
            tenancy.receive(taken)
            waiting = waiting[len(taken) :]
        if waiting:
            self.landed((place.topic, place.partition))

    def _fetch_all(self) -> None:
        for place in self._tenancies:
            self.landed((place.topic, place.partition))


class _SeatWithConsumer(Seat):
    """`chassis.member.Member`, as far as a tenancy uses it."""

    consumer: _Fetcher
    soon: dict[TopicPartition, int]  # what the next commit says

    def commit_soon(self, place: TopicPartition, offset: int) -> None:
        if place not in self.soon:
            self.process.spawn(self._commit(place))
        self.soon[place] = offset

    async def _commit(self, place: TopicPartition) -> None:
        await self.process.sleep(self.group.faults.random.uniform(0, 0.5))
        await self.commit_at(place, self.soon.pop(place))

    async def ends_of(self, place: TopicPartition) -> tuple[int, int]:
        await self.process.sleep(0.002)
        return 0, len(self.group.cluster.records(*place))


class RouterProcess:
    """Implements `tests.simulation.group.Member`."""

    def __init__(self, cluster: Cluster, process: Process, group: Group, folder: Path, skew_ms: int) -> None:
        self.process = process
        self._cluster = cluster
        self._folder = folder
        self._tenancies: dict[TopicPartition, _Tenancy] = {}
        self.seat = _SeatWithConsumer(group, process)
        self.seat.consumer = self._fetcher = _Fetcher(cluster, process, self._tenancies)
        self.seat.soon = {}
        self._runs: dict[TopicPartition, Any] = {}
        self._log = SimulatedLog(cluster, process, skew_ms)
        self._tail = SimulatedTail(cluster, process)
        tables = SimulatedTables(SimulatedTail(cluster, process), process, SUPPRESSIONS.name)
        self._table_tail = tables._tail
        self._table = Table(SUPPRESSIONS, Suppression, cast("Any", self._log), cast("Any", self._table_tail), process)
        self._suppressions = SuppressionIndex(cast("Any", tables), self._table)
        self._tools = Tools(
            log=cast("Any", self._log),
            tail=cast("Any", self._tail),
            clock=process,
            dead_letters=DeadLetters(cast("Any", self._log), group="router", ratio_limit=1),
            member=cast("Any", self.seat),
            progress=Progress("router", process),
            factory=self._partition,
            owner_id=process.name,
            max_batch=5,
            rounds=Rounds(process),
        )

    async def start(self) -> None:
        await self._table_tail.follow(SUPPRESSIONS.name, 0, self._table.apply)
        await self._table_tail.caught_up(SUPPRESSIONS.name, 0, within=60)
        self.seat.group.join(self)

    def assigned(self, place: TopicPartition) -> None:
        tenancy = self._tenancies[place] = _Tenancy(self._tools, INPUTS, STATES, place)
        self._cluster.watch((place.topic, place.partition), self._fetcher.landed)
        self._runs[place] = self.process.spawn(tenancy.run())

    async def revoked(self, place: TopicPartition) -> None:
        """As `chassis.partition_owner`: the batch at hand is finished while the lease lasts."""
        if place not in self._tenancies:
            return
        tenancy, run = self._tenancies.pop(place), self._runs.pop(place)
        tenancy.leave()
        _, late = await asyncio.wait([run], timeout=max(0.0, self.seat.remaining()))
        if late:
            run.cancel()
            await asyncio.wait([run])
        self._cluster.unwatch((place.topic, place.partition), self._fetcher.landed)

    def _partition(self, topic: Topic, partition: int) -> OwnedPartition:
        store = open_store(self._folder / f"{partition}.sqlite", self._log.broker_now_ms())
        self.process.stores.append(store)
        return RouterPartition(
            Place("standard", partition, "main", LADDER, watchdog_after=timedelta(hours=1)),
            store,
            self._suppressions,
            ProjectLadders({}),
            RoutingIndex("upstream", "main", self.process),
            LoggedSubmissions(cast("Any", self._tail), topic),
            clock=self.process,
            now_ms=self._log.broker_now_ms,
            window=3,
            feedback_window_ms=30 * 86_400_000,
        )
