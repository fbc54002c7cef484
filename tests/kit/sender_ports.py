"""The sender's world in memory: a journal that is a log, a server that takes mail, a clock that jumps.

A process is an `Attempts` over these ports; it can be made to die after any of its calls, the log and the server stay.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chassis.log import LogUnavailable
from chassis.table import LEASE
from schemas.deliveries import AttemptRecorded, AttemptStarted, Delivery
from schemas.inputs import AttemptInput, Feedback
from schemas.tables import Suppression
from services.sender.domain.history import History
from services.sender.domain.mime import Mail, compose
from services.sender.domain.outcome import Outcome
from services.sender.domain.queue import Candidate
from services.sender.domain.reports import Hop
from services.sender.domain.sandbox import answer_to
from services.sender.handlers import Attempts, Timing
from services.sender.ports import Carried, Gate, Job, NoContent, NoRoom, PathDown, Tenure, Way

TIMING = Timing(deadline_ms=60_000, margin_ms=5_000, start_within=600)
PROJECT = "prj_06GC8M3CFE0000000000000001"
WAY = Way("upstream", "upstream")
DELIVERED = Outcome("delivered", "delivered", "reply", "250 2.0.0 Ok", 250, "2.0.0")


class Died(BaseException):
    """kill -9. No handler may catch it."""


@dataclass(slots=True)
class World:
    """What outlives a process."""

    now_ms: int = 1_790_000_000_000
    journal: list[AttemptStarted | AttemptRecorded] = field(default_factory=list)
    inputs: list[AttemptInput] = field(default_factory=list)
    heard: list[Feedback] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)  # message ids whose dot was written
    sandboxed: list[str] = field(default_factory=list)  # message ids that the sandbox has seen
    suppression: Suppression | None = None
    outcome: Outcome = DELIVERED
    no_content: Outcome | None = None
    way: Way | Outcome | PathDown = WAY
    at: dict[str, Callable[[], None]] = field(default_factory=dict)  # what happens at a named point, once
    fail: Counter[str] = field(default_factory=Counter)  # LogUnavailable so often: "claim" unlanded, "claim!" landed, …

    def reach(self, point: str) -> None:
        """Something else happens here, if the test says so."""
        if point in self.at:
            self.at.pop(point)()

    def told(self, kind: str) -> list[AttemptInput]:
        return [report for report in self.inputs if f"input.attempt_{kind}" == report.TYPE]

    def history(self, message_id: str, attempt: int) -> History:
        """The fold of the log: the first claim holds, until it is closed, or given back by its owner."""
        history = History()
        for entry in self.journal:
            if (entry.message_id, entry.attempt) == (message_id, attempt):
                history = _folded(history, entry)
        return history


def _folded(history: History, entry: AttemptStarted | AttemptRecorded) -> History:
    claim = history.claim
    if isinstance(entry, AttemptStarted):
        return history if claim is not None else History(entry, None, history.not_sent)
    ours = claim is not None and (claim.owner, claim.dispatch) == (entry.owner, entry.dispatch)
    if entry.outcome == "not_sent":
        highest = history.not_sent
        given_back = entry if highest is None or highest.dispatch <= entry.dispatch else highest
        return History(None if ours else claim, None if ours else history.outcome, given_back)
    return History(claim, entry, history.not_sent) if ours and history.outcome is None else history


@dataclass(slots=True)
class Process:
    """One sender process: its ports, all of them here. Dies after its `dies_after`-th call."""

    world: World
    owner: str
    dies_after: int | None = None
    lease: bool = True
    is_fresh: bool = True
    was_fresh: bool = False  # a moment ago
    room: bool = True
    closed_until_ms: int | None = None
    told_pace: list[Carried] = field(default_factory=list)
    read_back: bool = False  # whether the last outcome was to be read back
    calls: list[str] = field(default_factory=list)
    attempts: Attempts = field(init=False)

    def __post_init__(self) -> None:
        self.attempts = Attempts(
            owner=self.owner,
            timing=TIMING,
            clock=self,
            broker_clock=self,
            journal=self,
            inputs=self,
            suppressed=self,
            mails=self,
            ways=self,
            slots=self,
            carrier=self,
            sandbox=self,
            rights=self,
        )

    async def carry_out(
        self, delivery: Delivery, tenure: Tenure | None = None, *, landed_ms: int | None = None
    ) -> bool:
        landed_ms = delivery.created_at_ms if landed_ms is None else landed_ms
        job = Job(delivery, PROJECT, landed_ms, tenure or Tenure("deliveries", 0))
        return await self.attempts.carry_out(job)

    def _did(self, call: str) -> None:
        self.calls.append(call)
        self.world.reach(call)
        if self.dies_after is not None and len(self.calls) >= self.dies_after:
            raise Died

    def _log_fails(self, what: str) -> bool:
        if self.world.fail[what] <= 0:
            return False
        self.world.fail[what] -= 1
        return True

    # clock, broker clock

    def now_ms(self) -> int:
        return self.world.now_ms

    def broker_now_ms(self) -> int:
        return self.world.now_ms

    def monotonic(self) -> float:
        return self.world.now_ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.world.now_ms += max(1, round(seconds * 1000))
        await asyncio.sleep(0)
        self._did("sleep")

    # rights

    def holds(self, topic: str, partition: int) -> bool:
        del topic, partition
        return self.lease

    def lease_ends_ms(self) -> int:
        return self.world.now_ms + 8_000

    # journal

    async def history(self, delivery: Delivery) -> History:
        found = self.world.history(delivery.message_id, delivery.attempt)
        self._did("history")
        await asyncio.sleep(0)  # whoever runs beside it sees the same
        return found

    async def claim(self, started: AttemptStarted, project_id: str) -> AttemptStarted:
        del project_id
        if self._log_fails("claim"):
            raise LogUnavailable("not landed")
        self.world.reach("before claim")
        self.world.journal.append(started)
        self._did("claim")
        if self._log_fails("claim!"):
            raise LogUnavailable("landed, but nobody knows")
        holder = self.world.history(started.message_id, started.attempt).claim
        assert holder is not None
        return holder

    async def record(self, recorded: AttemptRecorded, project_id: str, *, read_back: bool = False) -> None:
        del project_id
        if self._log_fails("record"):
            raise LogUnavailable("not landed")
        self.world.reach("before record")
        self.read_back = read_back
        self.world.journal.append(recorded)
        self._did("record")

    def given_back(self, delivery: Delivery) -> bool:
        found = self.world.history(delivery.message_id, delivery.attempt).not_sent
        return found is not None and found.dispatch >= delivery.dispatch

    # inputs

    async def report(self, report: AttemptInput | Feedback, project_id: str) -> None:
        del project_id
        if self._log_fails("report"):
            raise LogUnavailable("not landed")
        if isinstance(report, Feedback):
            self.world.heard.append(report)
        else:
            self.world.inputs.append(report)
        self._did("report")

    # suppression list

    def fresh(self, within: float = LEASE) -> bool:
        return self.is_fresh or (self.was_fresh and within > LEASE)

    async def wait_fresh(self, within: float) -> bool:
        await self.sleep(within)
        return self.is_fresh

    def find(self, project_id: str, recipient: str, tags: Sequence[str]) -> Suppression | None:
        del project_id, tags
        found = self.world.suppression
        return found if found is not None and found.recipient == recipient else None

    # mails

    @asynccontextmanager
    async def written(self, delivery: Delivery, project_id: str, *, within: float) -> AsyncIterator[Mail]:
        del project_id, within
        if self.world.no_content is not None:
            raise NoContent(self.world.no_content)
        yield compose(delivery)

    # ways

    async def of(self, delivery: Delivery, project_id: str) -> Way | Outcome | PathDown:
        del delivery, project_id
        return self.world.way

    # slots

    def check(self, way: Way, mail: Candidate) -> None:
        del way, mail
        if self.closed_until_ms is not None:
            raise NoRoom(self.closed_until_ms, "paced")

    @asynccontextmanager
    async def slot(self, way: Way, mail: Candidate, *, within: float) -> AsyncIterator["Process"]:
        del way, mail, within
        if not self.room:
            raise NoRoom
        self._did("slot")
        yield self

    def tell(self, carried: Carried) -> None:
        self.told_pace.append(carried)

    # sandbox

    async def take(self, delivery: Delivery, project_id: str, mail: Mail, gate: Gate) -> Carried:
        del project_id
        await gate.settle()
        if (stop := gate.before_data()) is not None:
            return Carried(stop)
        self.world.sandboxed.append(delivery.message_id)
        self._did("taken")
        return Carried(answer_to(delivery.recipient))

    # carrier

    async def carry(self, way: Way, mail: Mail, gate: Gate, *, dot_by: float) -> Carried:
        del way, dot_by
        hop = Hop(mx_host="mx.example.org")
        self._did("rcpt")
        await gate.settle()
        if (stop := gate.before_data()) is not None:
            return Carried(stop, hop)
        self._did("data")
        if (stop := gate.before_body()) is not None:
            return Carried(stop, hop)
        head = mail.data.decode()
        self.world.mails.append(head.partition("Message-ID: <")[2].partition("@")[0])
        self._did("dot")
        return Carried(self.world.outcome, hop)
