"""A log in memory and a router on it, step by step: every step may be the last before a kill -9.

Drives a `RouterPartition` as `chassis.partition_owner` does (state, read back, outputs, commit; fences by the real
`Changelog`), on a clock that only the test moves. A sender is whoever reads `deliveries` and appends outcomes.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import orjson

from chassis.changelog import NO_FENCE, Changelog, marks
from chassis.log import Incoming, Outgoing
from chassis.partition_owner import Received, Step, Tenure
from schemas.envelope import MalformedRecord, Payload, decode, encode, seal
from schemas.inputs import MESSAGE_INPUTS, Submit
from schemas.mail import Content, Lane
from schemas.states import FENCE_KEY, Fence
from schemas.topics import TOPICS, deliveries, message_inputs, message_state
from services.router.adapters.routing_index import RoutingIndex
from services.router.adapters.store import SqliteStore, open_store
from services.router.batch import Place
from services.router.domain.decision import Listed
from services.router.domain.ladder import Ladder
from services.router.handlers import RouterPartition
from tests.kit.router_inputs import PROJECT, START_MS

LEASE_MS = 8_000
# What a process may still do before it is killed: decide, write states, emit some outputs.
Step_ = Literal["decided", "state", "half", "outputs"]


class Killed(Exception):
    """kill -9, at the step that the test named."""


@dataclass(slots=True)
class MemoryLog:
    """Topics as lists, with the broker's clock."""

    now_ms: int = START_MS
    topics: dict[str, list[Incoming]] = field(default_factory=lambda: defaultdict(list))

    def append(self, record: Outgoing) -> int:
        landed = self.topics[record.topic]
        offset = len(landed)
        landed.append(
            Incoming(record.topic, record.partition or 0, offset, self.now_ms, record.key, record.value, record.headers)
        )
        return offset

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in self.topics[topic] if record.value is not None]


@dataclass(slots=True)
class Listing:
    """The suppression list: what the test adds, and what the router put into its topic."""

    entries: dict[tuple[str, str], tuple[str, Listed]] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)  # of an address that is listed for one tag
    watchers: list[Callable[[str, str, str], None]] = field(default_factory=list)
    is_fresh: bool = True

    async def fresh(self) -> bool:
        return self.is_fresh

    def listed(self, project_id: str, address: str, tags: Sequence[str]) -> Listed | None:
        entry = self.entries.get((project_id, address))
        holds = self.scopes.get(address, "*") in ("*", *tags)
        return entry[1] if entry is not None and holds else None

    def id_of(self, project_id: str, address: str) -> str | None:
        entry = self.entries.get((project_id, address))
        return None if entry is None else entry[0]

    def watch(self, notify: Callable[[str, str, str], None]) -> Callable[[], None]:
        self.watchers.append(notify)
        return lambda: self.watchers.remove(notify)

    def add(self, address: str, reason: str = "manual", scope: str = "*") -> None:
        self.scopes[address] = scope
        self.entries[PROJECT, address] = ("sup_1", Listed(reason, None))
        for notify in self.watchers:
            notify(PROJECT, address, "sup_1")

    def remove(self, address: str) -> None:
        del self.entries[PROJECT, address]


@dataclass(slots=True)
class Ladders:
    """The projects' own retry schedules: what the test says."""

    own: dict[str, Ladder] = field(default_factory=dict)  # by project id

    def of(self, project_id: str) -> Ladder | None:
        return self.own.get(project_id)


class RouterOnLog:
    """One partition of one lane. `start` is a take-over; after `Killed` only `start` goes on."""

    def __init__(
        self,
        folder: Path,
        *,
        lane: Lane = "standard",
        window: int = 100,
        schedule: Sequence[float] = (30, 300, 1800, 7200, 18000),
        max_batch: int = 500,
    ) -> None:
        self.log = MemoryLog()
        self.listing = Listing()
        self.ladders = Ladders()
        self.tables = RoutingIndex("upstream", "main", self)
        self.path = folder / "partition.sqlite"
        self.lane: Lane = lane
        self.inputs = message_inputs(lane).name
        self.changelog_topic = message_state(lane).name
        self.deliveries = deliveries("main", lane).name
        self._place = Place(
            lane, 0, "main", Ladder.of([timedelta(seconds=s) for s in schedule]), watchdog_after=timedelta(hours=1)
        )
        self._window = window
        self._max_batch = max_batch
        self.committed = 0
        self.skew_ms = 0  # how far the router's idea of broker time is ahead
        self._epoch = -1
        self._applied = 0
        self._store: SqliteStore | None = None
        self.view: RouterPartition | None = None
        self.start()

    # as a process

    def start(self) -> None:
        """Restore, fence; what came before it is void from here on."""
        self._store = open_store(self.path, self.log.now_ms)
        self.view = RouterPartition(
            self._place,
            self._store,
            self.listing,
            self.ladders,
            self.tables,
            self,
            clock=self,
            now_ms=lambda: self.log.now_ms + self.skew_ms,
            window=self._window,
            feedback_window_ms=30 * 86_400_000,
        )
        known = self.view.changelog_fence()
        self._changelog = Changelog(self.view.apply, NO_FENCE if known is None else known, self.view.fenced)
        self._applied = self.view.changelog_start() or 0
        fence = seal(
            Fence(owner="test"),
            record_id="rec_f",
            source="router",
            subject=FENCE_KEY,
            time_ms=self.log.now_ms,
            project_id="",
        )
        self._epoch = self.log.append(Outgoing(self.changelog_topic, FENCE_KEY, encode(fence), 0))
        self._read_back()

    def kill(self) -> None:
        """The process is gone: of the local file only what was committed is left."""
        assert self._store is not None
        self._store._connection.close()
        self.listing.watchers.clear()
        self.view = self._store = None

    async def batch(self, *, killed_after: Step_ | None = None) -> bool:
        """One batch; whether there was one. Raises Killed at the named step, Retry where the service says so."""
        assert self.view is not None
        records = self.log.topics[self.inputs][self.committed :][: self._max_batch]
        if not records:
            return False
        tenure = self._tenure()
        step = await self.view.decide([self._received(record) for record in records], tenure)
        self._write(step, tenure, killed_after)
        self.committed = records[-1].offset + 1
        return True

    async def tick(self, *, killed_after: Step_ | None = None) -> None:
        assert self.view is not None
        tenure = self._tenure()
        self._write(await self.view.tick(tenure), tenure, killed_after)

    async def settle(self) -> None:
        """Batches and ticks until nothing more happens at this time."""
        while True:
            before = len(self.log.topics[self.inputs])
            while await self.batch():
                pass
            await self.tick()
            if len(self.log.topics[self.inputs]) == before:
                return

    async def settle_at(self, ms: int) -> None:
        self.log.now_ms = max(self.log.now_ms, ms)
        await self.settle()

    # as the world around it

    def give(self, *inputs: Payload) -> None:
        """Append inputs, as ingest and senders do."""
        for given in inputs:
            of = given.message_id  # type: ignore[attr-defined]  # every input has one
            envelope = seal(
                given, record_id="rec_1", source="test", subject=of, time_ms=self.log.now_ms, project_id=PROJECT
            )
            self.log.append(Outgoing(self.inputs, of, encode(envelope), 0, (("traceparent", b"00-a-b-01"),)))

    def give_poison(self, key: str, value: bytes | None = b"{") -> None:
        self.log.append(Outgoing(self.inputs, key, value, 0))

    def events(self, message_id: str) -> list[dict[str, Any]]:
        """Each event of the message once, by sequence. Fails where one id has two contents."""
        known: dict[str, bytes | None] = {}
        for record in self.log.topics[TOPICS["message-events"].name]:
            if record.key == message_id:
                identity = dict(record.headers)["ce_id"].decode()
                assert known.setdefault(identity, record.value) == record.value, f"{identity} has two contents"
        return sorted((orjson.loads(value or b"") for value in known.values()), key=lambda event: event["sequence"])

    def statuses(self, message_id: str) -> list[str]:
        return [event["data"]["status"] for event in self.events(message_id)]

    def sent(self) -> list[tuple[str, int, int]]:
        """(message id, attempt, dispatch) of every live delivery, in the order of the topic."""
        return [(d["message_id"], d["attempt"], d["dispatch"]) for d in self.live_deliveries()]

    def live_deliveries(self) -> list[dict[str, Any]]:
        return [
            orjson.loads(record.value or b"")["data"]
            for record in self.log.topics[self.deliveries]
            if record.timestamp_ms <= orjson.loads(record.value or b"")["data"]["valid_until_ms"]
        ]

    def state(self, message_id: str) -> dict[str, Any]:
        """The last state record."""
        last = [r for r in self.log.topics[self.changelog_topic] if r.key == message_id][-1]
        data: dict[str, Any] = orjson.loads(last.value or b"{}").get("data", {})
        return data

    # as its ports

    async def content(self, partition: int, offset: int) -> Content | None:
        record = self.log.topics[self.inputs][offset]
        return decode(record.value, {Submit.TYPE: Submit}).data.content

    def now_ms(self) -> int:
        return self.log.now_ms

    def monotonic(self) -> float:
        return self.log.now_ms / 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def _tenure(self) -> Tenure:
        return Tenure(self._epoch, self.log.now_ms + LEASE_MS)

    def _received(self, record: Incoming) -> Received:
        try:
            return Received(record, decode(record.value, MESSAGE_INPUTS))
        except MalformedRecord as error:
            return Received(record, None, str(error), f"dlq/0/{record.offset}")

    def _write(self, step: Step, tenure: Tenure, killed_after: Step_ | None) -> None:
        if killed_after == "decided":
            raise Killed
        for record in step.state:
            tombstone = record.value is None
            headers = record.headers + marks(tenure.epoch, tenure.valid_until_ms) if tombstone else record.headers
            self.log.append(Outgoing(record.topic, record.key, record.value, 0, headers))
        if killed_after == "state":
            raise Killed
        self._read_back()
        outputs = step.outputs[: len(step.outputs) // 2] if killed_after == "half" else step.outputs
        for record in outputs:
            self.log.append(record)
        self._learn_suppressions()
        if killed_after is not None:
            raise Killed

    def _read_back(self) -> None:
        for record in self.log.topics[self.changelog_topic][self._applied :]:
            self._changelog.apply(record)
            self._applied = record.offset + 1

    def _learn_suppressions(self) -> None:
        for entry in self.log.values(TOPICS["suppressions"].name):
            data = entry["data"]
            if (data["project_id"], data["recipient"]) not in self.listing.entries:
                self.listing.entries[data["project_id"], data["recipient"]] = (
                    data["id"],
                    Listed(data["reason"], data["source_event_id"]),
                )
