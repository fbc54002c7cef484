"""A stack under drill: its sink, its webhook endpoint, what its event topic says so far, and the verdict over all of it.

It must never know which fault was made: it gathers the sides, the oracle judges.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiokafka.errors import KafkaError

from schemas.deliveries import AttemptStarted
from schemas.mail import TERMINAL
from tests.drills import commits
from tests.drills.load import BODY, SUBJECT, Load
from tests.kit.oracle import (
    Event,
    Evidence,
    Usage,
    by_message,
    judge,
    judge_calls,
    judge_logs,
    judge_timelines,
    judge_usage,
    timeline_of,
)
from tests.kit.smtp_server import Script, SmtpServer, Taken, smtp_server
from tests.kit.stack import Json, Stack
from tests.kit.waiting import eventually, until
from tests.kit.webhook_receiver import WebhookReceiver

REPLY_AFTER = 0.3  # seconds that a sink takes before its 250, so that mail is in flight whenever something dies
TWO_OF_EACH = "ingest=2 router=2 sender=2 webhooks=2"
# Far above what any of them needs (150 MB, 100 descriptors), far below what a leak in a loop of retries takes.
_RESIDENT, _FILES = 500 << 20, 500
_RESIDENT_WITH_A_DATABASE = 1000 << 20  # analytics has ClickHouse within, whose caches and merges take what they need
_SERVICES = ("ingest", "router", "sender", "webhooks", "analytics")


@dataclass(slots=True)
class Field:
    stack: Stack
    sink: SmtpServer
    receiver: WebhookReceiver
    copies: Counter[str] = field(default_factory=Counter)
    recipients: dict[str, str] = field(default_factory=dict)  # at the sink, by message id
    last: dict[str, tuple[int, str, str]] = field(default_factory=dict)  # sequence, status, recipient by message id
    usage: list[Usage] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # found on the way
    unknowns: int = 0
    claims: dict[str, str] = field(default_factory=dict)  # owners of attempts that are begun and have no outcome yet
    _taken_at: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    def take(self, mail: Taken) -> None:
        self._taken_at.append(asyncio.get_running_loop().time())
        self.copies[mail.message_id] += 1
        self.recipients[mail.message_id] = mail.rcpt_to

    def in_flight(self, load: Load) -> int:
        """Accepted mails that have no final event yet."""
        return sum(1 for message_id in load.log.accepted if not self._over(message_id))

    async def wait_in_flight(self, load: Load, least: int = 3) -> None:
        """So that a fault meets work. Raises TimeoutError where the load is over."""
        await until(lambda: self.in_flight(load) >= least, within=60, every=0.005)

    async def wait_replies_due(self, least: int) -> None:
        """Wait for a moment at which the sink has taken so many mails just now that it has not answered them."""
        now = asyncio.get_running_loop().time
        await until(lambda: sum(now() - at < REPLY_AFTER / 2 for at in self._taken_at) >= least, within=30, every=0.005)

    async def sender_at_work(self, least: int) -> int:
        """The replica that holds most open claims, once that is so many: who dies with nothing at hand proves nothing."""
        await until(lambda: max(self._held_by(replica) for replica in (1, 2)) >= least, within=30, every=0.005)
        return max((1, 2), key=self._held_by)

    def _held_by(self, replica: int) -> int:
        return sum(owner.startswith(f"snd_{replica}_") for owner in self.claims.values())

    def assert_in_flight(self, load: Load, what: str) -> None:
        assert self.in_flight(load), f"nothing was in flight when {what}: the drill proves nothing"

    def _over(self, message_id: str) -> bool:
        return message_id in self.last and self.last[message_id][1] in TERMINAL

    def _all_over(self, load: Load) -> bool:
        mine = {message_id for message_id, (_, _, recipient) in self.last.items() if load.owns(recipient)}
        return all(self._over(message_id) for message_id in mine | set(load.log.accepted))

    async def follow(self) -> None:
        """Note each event as it comes; broker faults included."""
        async with self.stack.subscription("message-events") as consumer:
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self._note(orjson.loads(record.value))

    async def follow_claims(self) -> None:
        """Know which sender has which attempt at hand, as its journal says."""
        async with self.stack.subscription("attempt-journal") as consumer:
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        entry = orjson.loads(record.value)
                        if entry["type"] == AttemptStarted.TYPE:
                            self.claims.setdefault(record.key.decode(), entry["data"]["owner"])
                        else:
                            self.claims.pop(record.key.decode(), None)

    def _note(self, event: Mapping[str, Any]) -> None:
        known = self.last.get(event["subject"], (0, "", ""))
        now = (int(event["sequence"]), str(event["data"]["status"]), str(event["data"]["recipient"]))
        self.last[event["subject"]] = max(known, now)

    async def measure(self) -> None:
        """Sample every service's memory and descriptors once a second."""
        while True:
            for process in self.stack.description["processes"]:
                if process["service"] in _SERVICES:
                    with suppress(OSError, IndexError):
                        self.usage.append(_usage(f"{process['service']} {process['replica']}", int(process["pid"])))
            await asyncio.sleep(1)

    async def judge_commits(self) -> None:
        """Hold what groups have committed by now against what they have done by a moment later (I7)."""
        try:
            self.faults += await commits.faults(self.stack)
        except KafkaError:
            return  # the broker is away: the next one will look

    async def verdict(self, load: Load, *, within: float = 90) -> list[str]:
        """Wait until all of the load's mail is over, and say what is wrong, by every invariant."""
        with suppress(TimeoutError):  # what is not over by then is the oracle's to say
            await until(lambda: self._all_over(load), within=within, every=0.1)
        events = {
            message_id: found
            for message_id, found in by_message(await self.stack.read_topic("message-events")).items()
            if load.owns(found[0]["data"]["recipient"])
        }
        self.unknowns = sum(
            event["data"]["status"] == "unknown" for found in events.values() for event in timeline_of(found)
        )
        mine = {key: recipient for key, recipient in self.recipients.items() if load.owns(recipient)}
        faults = judge(
            Evidence(
                accepted=set(load.log.accepted),
                events=events,
                copies=Counter({key: self.copies[key] for key in mine}),
                faults=[*self.faults, *load.log.faults],
                recipients=mine,
                refused=load.log.refused,
                unanswered=load.log.unanswered,
            )
        )
        faults += await self._judge_endpoint([event for found in events.values() for event in found])
        faults += await self._judge_read_side(events)
        faults += await self._judge_ledger()
        keys = self.stack.description["keys"].values()
        faults += judge_logs(self.stack.run_dir / "logs", [*keys, BODY, SUBJECT], rf"{load.prefix}-\d+@")
        await self.judge_commits()
        with_database = [usage for usage in self.usage if usage.process.startswith("analytics")]
        others = [usage for usage in self.usage if not usage.process.startswith("analytics")]
        faults += judge_usage(with_database, resident=_RESIDENT_WITH_A_DATABASE, files=_FILES)
        return [*faults, *judge_usage(others, resident=_RESIDENT, files=_FILES)]

    async def _judge_endpoint(self, events: list[Event]) -> list[str]:
        wanted = {event["id"] for event in events}

        def all_told() -> bool:
            return wanted <= {call.webhook_id for call in self.receiver.received}

        with suppress(TimeoutError):
            await until(all_told, within=60, every=0.5)
        return judge_calls(events, [(call.webhook_id, call.body) for call in self.receiver.received])

    async def _judge_read_side(
        self, events: Mapping[str, list[Event]] | Mapping[str, list[dict[str, Any]]]
    ) -> list[str]:
        shown: dict[str, list[Json]] = {}
        waiting = set(events)

        async def look(message_id: str) -> None:
            async with slots:
                status, message, _ = await self.stack.call("GET", f"/v1/messages/{message_id}")
                if status == 200:
                    shown[message_id] = message.get("timeline", [])  # without one it was only just accepted

        async def all_shown() -> bool:
            await asyncio.gather(*(look(message_id) for message_id in waiting))
            waiting.difference_update({key for key in waiting if shown.get(key) == timeline_of(events[key])})
            return not waiting

        slots = asyncio.Semaphore(8)
        with suppress(TimeoutError):
            await eventually(all_shown, within=90, every=0.5)
        return judge_timelines(events, shown, events)

    async def _judge_ledger(self) -> list[str]:
        """What ingest, the log and ClickHouse have of everything accepted is the same, and adds up (R37)."""
        said: list[str] = ["the ledger: no answer"]

        async def even() -> bool:
            status, ledger, _ = await self.stack.call("GET", "/v1/ledger")
            if status == 200:
                said[:] = [f"the ledger: {hour}" for hour in ledger["data"] if not _adds_up(hour)]
            return not said

        with suppress(TimeoutError):
            await eventually(even, within=30, every=0.5)
        return said

    def figures(self, load: Load) -> str:
        mine = [key for key, recipient in self.recipients.items() if load.owns(recipient)]
        second = sum(self.copies[key] - 1 for key in mine)
        return (
            f"{len(load.log.accepted)} accepted, {len(load.log.unanswered)} unanswered, {len(load.log.refused)} refused or "
            f"suppressed, {len(mine)} at the sink, {self.unknowns} unknown, {second} second copies, {dict(load.log.statuses)}"
        )


def _adds_up(hour: Json) -> bool:
    ends = ("delivered", "bounced", "suppressed", "cancelled", "expired")
    sides = [
        side["queued"] - sum(side[end] for end in ends) - sum(side["open"].values()) for side in (hour, hour["log"])
    ]
    return [*sides, hour["drift"], hour["missing"]] == [0, 0, 0, 0]


def _usage(name: str, pid: int) -> Usage:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return Usage(name, pages * 4096, sum(1 for _ in (process / "fd").iterdir()))


@asynccontextmanager
async def field_of(
    run_dir: Path, port_base: int, script: Script, knobs: Mapping[str, str] | None = None
) -> AsyncIterator[Field]:
    """A stack of two replicas with a sink of its own and an endpoint for every event."""
    async with smtp_server(script) as sink, WebhookReceiver() as receiver:
        usual = {
            "REPLICAS": TWO_OF_EACH,
            "UPSTREAM": f"127.0.0.1:{sink.port}",
            "RETRY_SCHEDULE": "1s,1s,2s,2s,3s",
            "WEBHOOKS_RETRY_SCHEDULE": "1s,1s,2s,2s,3s,5s",
        }
        async with Stack(run_dir, port_base=port_base, knobs={**usual, **(knobs or {})}) as stack:
            found = Field(stack, sink, receiver)
            sink.on_mail = found.take
            endpoint = {"url": receiver.url("/events"), "events": ["*"]}
            status, _, _ = await stack.call("POST", "/v1/webhooks", endpoint)
            assert status == 201
            watched = (found.follow(), found.follow_claims(), found.measure())
            watching = [asyncio.create_task(watch) for watch in watched]
            try:
                yield found
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
