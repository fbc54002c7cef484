"""One run: one seed, one virtual day. Two processes of each service, clients, faults; then peace, and the verdict.

Everything is drawn from the seed, so `python -m tests.simulation --seed N` shows the same run again.
"""

import asyncio
import contextvars
import shutil
import tempfile
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import structlog
from aiokafka import TopicPartition

from chassis.log import Outgoing
from schemas.envelope import decode
from schemas.inputs import MESSAGE_INPUTS, Submit
from schemas.mail import TERMINAL
from schemas.topics import TOPICS
from tests.kit.oracle import Evidence, by_message, judge, timeline_of
from tests.kit.router_inputs import START_MS
from tests.simulation.clients import RECIPIENTS, Clients
from tests.simulation.cluster import Cluster
from tests.simulation.commands import Commands, judge_times
from tests.simulation.faults import Faults
from tests.simulation.group import Group, Member, in_world
from tests.simulation.ingest import PARTITIONS, IngestProcess
from tests.simulation.process import Process, owned_tasks
from tests.simulation.router import INPUTS, RouterProcess
from tests.simulation.sender import TOPIC as DELIVERIES
from tests.simulation.sender import MailServer, SenderProcess
from tests.simulation.virtual_time import VirtualLoop

HOUR = 3600.0
TROUBLE_ENDS = 14 * HOUR  # the ladder takes 7 h 35 min, so a day is enough for everything
DAY = 24 * HOUR
REQUESTS = 10
MOST_ACTS = 40  # an action's appends bring on the next: it must end
EVENTS = TOPICS["message-events"].name
Kind = type[IngestProcess] | type[RouterProcess] | type[SenderProcess]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`faults` is what was promised and not kept; `fired` what went wrong, `ends` how the messages ended."""

    seed: int
    faults: list[str]
    fired: Counter[str]
    ends: Counter[str]
    copies: int


class Run:
    def __init__(self, seed: int, folder: Path) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.broken: list[str] = []
        self.faults = Faults(self.random)
        self.cluster = Cluster(self.faults, self._act_soon)
        self.server = MailServer(self.faults, self.cluster.now_ms)
        self._folder = folder
        self._names: Counter[str] = Counter()
        self._ingests: dict[int, IngestProcess] = {}
        self._processes: list[Process] = []
        self._acts = 0
        self._members: dict[tuple[str, int], Member] = {}
        self.commands = Commands(self.random, self.cluster)
        self.clients = Clients(self.random, self.cluster.now_ms, self._ready_ingests, on_told=self.commands.told)
        self._routers = Group(self.cluster, [TopicPartition(INPUTS.name, p) for p in range(PARTITIONS)])
        self._senders = Group(self.cluster, [TopicPartition(DELIVERIES.name, p) for p in range(PARTITIONS)])

    async def play(self) -> Verdict:
        for replica in range(2):
            for service in ("ingest", "router", "sender"):
                self._start(service, replica)
        bursts = [self.random.uniform(5, 12 * HOUR) for _ in range(3)]
        for number in range(REQUESTS):
            at = self.random.choice(bursts) + self.random.uniform(0, 20)
            in_world(self.clients.send(f"q{number}", keyed=self.random.random() < 0.8, at=at))
        await asyncio.sleep(TROUBLE_ENDS)
        self._heal()
        while not self._over() and self.cluster.now_ms() < START_MS + 2 * DAY * 1000:
            self.commands.release_held()
            await asyncio.sleep(600)
        verdict = self._verdict()
        for process in self._processes:
            process.kill()
        await asyncio.sleep(1)
        return verdict

    # processes

    def _start(self, service: str, replica: int) -> None:
        self._names[service] += 1
        name = f"{service}-{replica}.{self._names[service]}"
        skew = self.random.choice([-3_600_000, -50, 0, 0, 50, 3_600_000])
        process = Process(name, START_MS, skew, self.broken.append)
        self._processes.append(process)
        off = self.random.randint(-20, 20)  # its estimate of the broker's clock
        folder = self._folder / f"{service}-{replica}"
        if self.faults.happens("file lost"):
            shutil.rmtree(folder, ignore_errors=True)
        part: IngestProcess | RouterProcess | SenderProcess
        if service == "ingest":
            part = self._ingests[replica] = IngestProcess(self.cluster, process, self.random, off)
        elif service == "router":
            part = self._members[service, replica] = RouterProcess(self.cluster, process, self._routers, folder, off)
        else:
            part = self._members[service, replica] = SenderProcess(
                self.cluster, process, self._senders, self.server, off
            )
        process.spawn(part.start())
        in_world(self._watch(process, service, replica))

    async def _watch(self, process: Process, service: str, replica: int) -> None:
        """As a supervisor: who is dead comes back."""
        while not process.dead:
            await asyncio.sleep(20)
        if (member := self._members.get((service, replica))) is not None:
            member.seat.group.silent(member)
        await asyncio.sleep(self.random.choice([0.5, 5, 60]) * self.random.random())
        self._start(service, replica)

    def _ready_ingests(self) -> list[IngestProcess]:
        return [ingest for ingest in self._ingests.values() if ingest.started and not ingest.process.dead]

    # faults

    def _act_soon(self) -> None:
        delay = self.random.choice([0.001, 0.01, 0.1, 5]) * self.random.random()
        asyncio.get_running_loop().call_later(delay, self._act, context=contextvars.Context())

    def _act(self) -> None:
        if self.faults.healed or self._acts == MOST_ACTS:
            return
        self._acts += 1
        action = self.random.choice(self.faults.actions)
        self.faults.fired[action] += 1
        match action:
            case "kill ingest":
                self.random.choice(list(self._ingests.values())).process.kill()
            case "kill router" | "kill sender":
                self._member(action.removeprefix("kill ")).process.kill()
            case "freeze" | "cut":
                in_world(self._silence(self._member(self.random.choice(["router", "sender"])), action))
            case "move":
                group = self.random.choice([self._routers, self._senders])
                in_world(group.move(self.random.choice(list(group.owners))))
            case "suppress":
                in_world(self.clients.suppress(self.random.choice(RECIPIENTS)))
            case "unsuppress":
                in_world(self.clients.unsuppress(self.random.choice(RECIPIENTS)))
            case "poison":
                partition = self.random.randrange(PARTITIONS)
                self.cluster.land(Outgoing(INPUTS.name, "nobody", b"{", partition))

    def _member(self, service: str) -> Member:
        return self._members[service, self.random.randrange(2)]

    async def _silence(self, member: Member, how: str) -> None:
        """Shorter or longer than the session; the zombie goes on meanwhile, or at the end."""
        process, seat = member.process, member.seat
        if process.dead or process.frozen_at is not None or seat.cut_at is not None:
            return
        if how == "freeze":
            process.freeze()
        else:
            seat.cut_at = process.monotonic()
        seat.group.silent(member)
        await asyncio.sleep(self.random.choice([2, 9, 30, 60]) * self.random.uniform(0.5, 1.5))
        process.thaw()
        if not process.dead:
            seat.group.back(member)

    def _heal(self) -> None:
        self.faults.healed = True
        for recipient in RECIPIENTS:
            self.clients.end_listings(recipient)

    # verdict

    def _submits(self) -> dict[str, Submit]:
        """What was submitted in time, by message id."""
        found: dict[str, Submit] = {}
        for record in self.cluster.all_records(INPUTS.name):
            if b'"input.submit"' in (record.value or b""):
                submit = decode(record.value, MESSAGE_INPUTS).data
                assert isinstance(submit, Submit)
                if record.timestamp_ms <= submit.valid_until_ms:
                    found.setdefault(submit.message_id, submit)
        return found

    def _events(self) -> dict[str, list[dict[str, Any]]]:
        return by_message(record.value or b"" for record in self.cluster.all_records(EVENTS))

    def _over(self) -> bool:
        if self.clients.open or self.commands.open:
            return False
        events = self._events()
        return all(any(e["data"]["status"] in TERMINAL for e in events.get(of, [])) for of in self._submits())

    def _verdict(self) -> Verdict:
        submits, events = self._submits(), self._events()
        faults = (
            self.broken
            + self.clients.faults
            + judge(Evidence(set(self.clients.told) | set(submits), events, self.server.copies))
        )
        faults += [
            f"{of}: told to {name}, and never submitted (I1)"
            for of, name in self.clients.told.items()
            if of not in submits
        ]
        faults += [f"{of}: events of a message that was never submitted" for of in events if of not in submits]
        faults += self._judge_keys(submits) + self._judge_listings() + self.commands.judge()
        faults += judge_times(self.server.begun, {of: timeline_of(found) for of, found in events.items()})
        if self.clients.open:
            faults.append(f"{self.clients.open} clients still wait for an answer")
        ends = Counter(max(events[of], key=lambda e: e["sequence"])["data"]["status"] for of in submits if of in events)
        return Verdict(self.seed, faults, self.faults.fired, ends, self.server.copies.total())

    def _judge_keys(self, submits: dict[str, Submit]) -> list[str]:
        """One request with a key is one answer and one submission, whatever was repeated."""
        faults = [
            f"{name}: {len(found)} answers (I2)" for name, found in self.clients.answers.items() if len(found) > 1
        ]
        submissions: dict[str, set[str]] = defaultdict(set)
        for submit in submits.values():
            submissions[submit.metadata["request"]].add(submit.submission_id)
        return faults + [f"{name}: {len(ids)} submissions (I2)" for name, ids in submissions.items() if len(ids) > 1]

    def _judge_listings(self) -> list[str]:
        """I3: nothing starts to an address between the answer and the removal."""
        return [
            f"{of}: DATA to {recipient} {at - listing.answered_ms} ms after its suppression was answered (I3)"
            for of, recipient, at in self.server.begun
            for listing in self.clients.listings
            if listing.recipient == recipient and listing.answered_ms <= at
            if listing.removed_ms is None or at < listing.removed_ms
        ]


def _silent(logger: Any, method: str, event: Any) -> Any:
    """The services' logs of a day of trouble are long, and of no use: the seed shows it again."""
    raise structlog.DropEvent


def simulate(seed: int) -> Verdict:
    """Play one seed. Nothing of it outlives the call."""
    memory = Path("/dev/shm")
    loop = VirtualLoop()
    loop.set_task_factory(owned_tasks)  # type: ignore[arg-type]  # typeshed does not know of `context`
    structlog.configure(processors=[_silent])
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # begun by who died the same moment
            return loop.run_until_complete(Run(seed, Path(folder)).play())
    finally:
        structlog.reset_defaults()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
