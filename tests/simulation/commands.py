"""Who changes their mind: commands on messages that were accepted, reports that come back, and what the verdicts were worth.

A command is repeated under its request's id until it has a verdict, sometimes twice at once; then the verdict is held
against the events. It knows nothing of the router but its topics.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import orjson

from chassis.ids import parse_message_id
from chassis.log import outgoing
from schemas.envelope import seal, to_ms
from schemas.inputs import Cancel, Due, Feedback, MessageInput, Release, Reschedule
from schemas.topics import TOPICS, message_inputs
from tests.kit.oracle import timeline_of
from tests.kit.router_inputs import PROJECT
from tests.simulation.cluster import Cluster
from tests.simulation.group import in_world

Event = Mapping[str, Any]
REPLIES, EVENTS = TOPICS["replies"].name, TOPICS["message-events"].name
# Seconds until a command without a verdict is repeated: longer each time, or repetitions are all that a partition in
# trouble has to do.
_LOOK, _LOOK_MOST = 10.0, 600.0
# How far a sender's idea of the broker's clock may be off, in ms.
_SKEW_MS = 20
_RETRY_EARLY_MS = 1_000  # a retry may fire this much before its time (services/router/domain/timers.py)


@dataclass(slots=True)
class Commands:
    """`send` once for each message that a client was told of; `release_held` is the person who looks at what is held."""

    random: Random
    cluster: Cluster
    open: int = 0
    asked: dict[str, MessageInput] = field(default_factory=dict)  # by request id

    def told(self, message_id: str) -> None:
        if self.random.random() < 0.6:
            self.open += 1
            in_world(self._trouble(message_id))

    async def _trouble(self, message_id: str) -> None:
        await asyncio.sleep(self.random.choice([0.001, 0.1, 5, 300]) * self.random.random())
        for _ in range(self.random.randint(1, 3)):
            if self.cluster.faults.happens("early timer"):
                self._fire(message_id)
            await self._near_its_time(message_id)
            kind = self.random.choice(["cancel", "cancel", "reschedule", "release"])
            if self.random.random() < 0.1:
                self._report(message_id)
            else:
                await self._ask(kind, message_id)
        self.open -= 1

    async def _near_its_time(self, message_id: str) -> None:
        """Where it is scheduled, mostly right at its time: before it, or after it, by a hair."""
        times = [
            e["data"]["scheduled_time"]
            for e in self._events(message_id)
            if "reason" in e["data"] and "scheduled_time" in e["data"]
        ]
        if times and self.random.random() < 0.7:
            ahead = (to_ms(times[-1]) - self.cluster.now_ms()) / 1000 + self.random.uniform(-0.3, 0.3)
            await asyncio.sleep(max(0.0, ahead))
        else:
            await asyncio.sleep(self.random.choice([0.01, 1, 60]) * self.random.random())

    async def _ask(self, kind: str, message_id: str) -> None:
        request = f"req_{len(self.asked)}"
        known: dict[str, Any] = {"message_id": message_id, "request_id": request, "by": "key_1"}
        later = self.cluster.now_ms() + round(self.random.choice([0, 5, 4000]) * self.random.random() * 1000)
        look = _LOOK
        while not self._verdicts(request):
            for replica in range(self.random.choice([1, 1, 2])):
                known["reply_to"] = f"ingest-{replica}"
                command: Cancel | Reschedule | Release
                match kind:
                    case "cancel":
                        command = Cancel(**known)
                    case "reschedule":
                        command = Reschedule(**known, scheduled_ms=later)
                    case _:
                        command = Release(**known)
                self.asked[request] = command
                self._land(command)
            await asyncio.sleep(look)
            look = min(2 * look, _LOOK_MOST)

    def _fire(self, message_id: str) -> None:
        """Every timer that it may have: what is not due yet must not be taken for due."""
        timers: list[tuple[Literal["retry", "watchdog", "schedule", "expiry"], int, int]] = [
            ("schedule", 1, 1), ("expiry", 1, 1), ("expiry", 2, 1), ("watchdog", 1, 1), ("retry", 1, 2), ("retry", 2, 1),
        ]  # fmt: skip
        for kind, attempt, dispatch in timers:
            self._land(Due(message_id=message_id, kind=kind, attempt=attempt, dispatch=dispatch))

    def _report(self, message_id: str) -> None:
        kinds: list[Literal["bounce", "complaint", "unsubscribe"]] = [
            "bounce",
            "complaint",
            "unsubscribe",
            "unsubscribe",
        ]
        kind = self.random.choice(kinds)
        report = Feedback(
            message_id=message_id,
            feedback_id=f"fbk_{self.random.randint(1, 3)}",
            kind=kind,
            received_at_ms=self.cluster.now_ms(),
            provider=None,
            by="provider",
        )
        for _ in range(self.random.choice([1, 2])):
            self._land(report)

    def release_held(self) -> None:
        for message_id, events in by_subject(self.cluster, EVENTS).items():
            if timeline_of(events)[-1]["data"]["status"] == "held":
                request = f"req_{len(self.asked)}"
                self.asked[request] = Release(message_id=message_id, request_id=request, by="ops", reply_to="ingest-0")
                self._land(self.asked[request])

    def judge(self) -> list[str]:
        faults: list[str] = []
        events = {of: timeline_of(found) for of, found in by_subject(self.cluster, EVENTS).items()}
        for request, command in self.asked.items():
            told = {orjson.dumps(verdict) for verdict in self._verdicts(request)}
            if len(told) != 1:
                faults.append(f"{request}: {len(told)} verdicts on {command.message_id}")
            for verdict in map(orjson.loads, told):
                faults += _judge_verdict(command, verdict, events.get(command.message_id, []))
        return faults

    def _verdicts(self, request: str) -> list[Any]:
        records = [orjson.loads(record.value or b"")["data"] for record in self.cluster.all_records(REPLIES)]
        return [verdict for verdict in records if verdict["request_id"] == request]

    def _events(self, message_id: str) -> list[Event]:
        return timeline_of(by_subject(self.cluster, EVENTS).get(message_id, []))

    def _land(self, given: MessageInput) -> None:
        parts = parse_message_id(given.message_id)
        assert parts is not None
        envelope = seal(
            given,
            record_id="rec_1",
            source="ingest",
            subject=given.message_id,
            time_ms=self.cluster.now_ms(),
            project_id=PROJECT,
        )
        topic = message_inputs(parts.lane)
        self.cluster.land(outgoing(topic, envelope, key=given.message_id, partition=parts.partition))


def by_subject(cluster: Cluster, topic: str) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for record in cluster.all_records(topic):
        event = orjson.loads(record.value or b"")
        found[event["subject"]].append(event)
    return found


def _judge_verdict(command: MessageInput, verdict: Mapping[str, Any], events: Sequence[Event]) -> list[str]:
    """R7: what was answered is what happened, then and at the end."""
    name = f"{verdict['request_id']} ({command.TYPE} of {command.message_id})"
    if verdict["verdict"] == "unknown_message":
        return [f"{name}: called unknown, and was told of"]
    at = events[verdict["sequence"] - 1]
    faults = [] if at["data"]["status"] == verdict["status"] else [f"{name}: {verdict} at an event that says {at}"]
    made = {
        "input.cancel": "message.cancelled",
        "input.reschedule": "message.rescheduled",
        "input.release": "message.accepted",
    }
    until_then = {event["type"] for event in events[: verdict["sequence"]]}  # a report may have come since
    if verdict["verdict"] == "done" and made[command.TYPE] not in until_then:
        faults.append(f"{name}: done, by {at['type']}")
    if verdict["verdict"] == "done" and isinstance(command, Cancel) and events[-1]["data"]["status"] != "cancelled":
        faults.append(f"{name}: cancelled, and ends as {events[-1]['data']['status']}")
    return faults


def judge_times(begun: Iterable[tuple[str, str, int]], timelines: Mapping[str, Sequence[Event]]) -> list[str]:
    """R2, R6, R22: no DATA before the time that it was last scheduled for, none after its `deliver_before`, none while it
    waits for its next attempt; and nothing expires before its time.
    """
    faults: list[str] = []
    for of, _, at in begun:
        events = timelines.get(of, ())
        scheduled = [
            e["data"]["scheduled_time"] for e in events if e["type"] in {"message.scheduled", "message.rescheduled"}
        ]
        if scheduled and at < to_ms(scheduled[-1]):
            faults.append(f"{of}: DATA {to_ms(scheduled[-1]) - at} ms before its time")
        ends = _ends(events)
        if ends is not None and at > ends + _SKEW_MS:
            faults.append(f"{of}: DATA {at - ends} ms after its deliver_before")
        faults += [
            f"{of}: DATA {until - at} ms before its next attempt is due"
            for since, until in _waits(events)
            if since < at < until
        ]
    for of, events in timelines.items():
        ends, last = _ends(events), events[-1]
        if ends is not None and last["type"] == "message.expired" and to_ms(last["time"]) < ends - 2 * _SKEW_MS:
            faults.append(f"{of}: expired {ends - to_ms(last['time'])} ms before its deliver_before")
    return faults


def _ends(events: Sequence[Event]) -> int | None:
    ends = next((e["data"]["deliver_before"] for e in events if e["type"] == "message.queued"), None)
    return None if ends is None else to_ms(ends)


def _waits(events: Sequence[Event]) -> list[tuple[int, int]]:
    """From when to when (ms) it waits for its next attempt, as its events say: until the time told, or the next event."""
    waits = []
    for event, following in zip(events, [*events[1:], None], strict=True):
        if event["data"].get("reason") == "retry_ladder":
            until = to_ms(event["data"]["next_attempt_at"]) - _RETRY_EARLY_MS
            if following is not None:
                until = min(until, to_ms(following["time"]))
            waits.append((to_ms(event["time"]) + _SKEW_MS, until - _SKEW_MS))
    return waits
