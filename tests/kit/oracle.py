"""The one judge of every end-to-end test and drill: what was promised, from three independent sides.

The client's log of accepted ids, the mails that lie in the mailbox, the public event topic. It knows no fault: a test
says what it broke, the oracle only counts. Invariants of the drill book: `judge` I1, I2, I3, I5; `judge_logs` I6;
`judge_commits` I7; `judge_usage` I8; and, for what follows from events, `judge_calls` and `judge_timelines`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from schemas.mail import TERMINAL

# Which status may follow which (architecture, section 2): what is not here is an illegal path.
_STOPPED = frozenset({"suppressed", "cancelled", "expired", "held"})
_OUTCOMES = frozenset({"delivered", "deferred", "bounced", "unknown"})
FOLLOWS: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"queued"}),
    "queued": _STOPPED | {"accepted", "scheduled"},
    "scheduled": _STOPPED | {"accepted", "scheduled"},
    "accepted": _OUTCOMES | _STOPPED,
    "deferred": _OUTCOMES | _STOPPED,
    "unknown": _OUTCOMES | _STOPPED,
    "held": frozenset({"accepted", "delivered", "deferred", "bounced", "suppressed", "cancelled", "expired"}),
    "delivered": frozenset({"bounced"}),
    "bounced": frozenset(),
    "suppressed": frozenset(),
    "cancelled": frozenset(),
    "expired": frozenset(),
}
# Events that tell something and change nothing: the status after them is the one before.
_KEEP_STATUS = frozenset({"message.complained", "message.unsubscribed", "message.waiting"})

Event = Mapping[str, Any]
Place = tuple[str, int]  # topic, partition


@dataclass(slots=True)
class Evidence:
    """What the three sides saw. `copies` counts mails at the sink by message id, `recipients` says to whom they went.

    `refused` and `unanswered` name recipients, of one request each: those that were refused or suppressed before, and
    those whose request nobody answered with 2xx, so that they have a mail or none.
    """

    accepted: set[str]
    events: Mapping[str, Sequence[Event]]  # by message id, in the order of the topic
    copies: Counter[str]
    faults: list[str] = field(default_factory=list)
    recipients: Mapping[str, str] = field(default_factory=dict)  # at the sink, by message id
    refused: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)


def by_message(values: Iterable[bytes]) -> dict[str, list[dict[str, Any]]]:
    """Records of the event topic, grouped by message id."""
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for value in values:
        event = orjson.loads(value)
        grouped[event["subject"]].append(event)
    return grouped


def judge(evidence: Evidence) -> list[str]:
    """Every broken promise, in words; empty when all hold."""
    faults = list(evidence.faults)
    untold = {
        message_id
        for message_id, events in evidence.events.items()
        if events[0]["data"]["recipient"] in evidence.unanswered
    }
    for message_id in sorted(evidence.accepted | untold):
        faults += _judge_message(message_id, evidence)
    strangers = set(evidence.copies) - evidence.accepted - untold
    faults += [f"{message_id}: mail at the sink that no client was told of" for message_id in sorted(strangers)]
    faults += _judge_recipients(evidence)
    return faults


def _judge_message(message_id: str, evidence: Evidence) -> list[str]:
    faults: list[str] = []
    distinct: dict[str, Event] = {}
    for event in evidence.events.get(message_id, ()):
        known = distinct.setdefault(event["id"], event)
        if known != event:
            faults.append(f"{message_id}: event {event['id']} has two contents")
    path = sorted(distinct.values(), key=lambda event: event["sequence"])
    if [event["sequence"] for event in path] != list(range(1, len(path) + 1)):
        faults.append(f"{message_id}: sequences {[event['sequence'] for event in path]} are not dense (I5)")
    before: str | None = None
    for event in path:
        status = event["data"]["status"]
        if status not in (FOLLOWS[before] if event["type"] not in _KEEP_STATUS else {before}):
            faults.append(f"{message_id}: {status} after {before} (I5)")
        before = status
    if before not in TERMINAL:
        faults.append(f"{message_id}: ends as {before}, not in a final state (I1)")
    unknowns = sum(event["data"]["status"] == "unknown" for event in path)
    copies = evidence.copies[message_id]
    if before == "delivered" and copies < 1:
        faults.append(f"{message_id}: delivered, but nothing at the sink (I1)")
    if before in {"cancelled", "expired"} and copies > unknowns:
        faults.append(f"{message_id}: {before}, and {copies} copies with {unknowns} unknown events (I2)")
    if copies > 1 + unknowns:
        faults.append(f"{message_id}: {copies} copies with {unknowns} unknown events (I2)")
    return faults


def _judge_recipients(evidence: Evidence) -> list[str]:
    """Nothing refused or suppressed is ever sent (I3), and one request, however often repeated, is one message (I2)."""
    faults = [
        f"{message_id}: mail for {recipient}, who was refused or suppressed before (I3)"
        for message_id, recipient in evidence.recipients.items()
        if recipient in evidence.refused
    ]
    messages = Counter(evidence.recipients.values())
    faults += [
        f"{recipient}: {count} messages for one request (I2)" for recipient, count in messages.items() if count > 1
    ]
    return faults


def timeline_of(events: Iterable[Event]) -> list[Event]:
    """A message's events, each once, in their order."""
    return sorted({event["id"]: event for event in events}.values(), key=lambda event: int(event["sequence"]))


def judge_calls(events: Iterable[Event], calls: Iterable[tuple[str, bytes]]) -> list[str]:
    """Every event at the endpoint at least once, and one webhook-id never with two contents. `calls`: id and body."""
    contents: dict[str, Any] = {}
    faults: list[str] = []
    for webhook_id, body in calls:
        content = orjson.loads(body)
        if contents.setdefault(webhook_id, content) != content:
            faults.append(f"{webhook_id}: two contents at the endpoint")
    for event in {event["id"]: event for event in events}.values():
        if event["id"] not in contents:
            faults.append(f"{event['id']}: {event['type']} of {event['subject']} never reached the endpoint")
        elif contents[event["id"]] != {**event, "timestamp": event["time"]}:
            faults.append(f"{event['id']}: the endpoint was told other than the topic")
    return faults


def judge_timelines(
    events: Mapping[str, Sequence[Event]], timelines: Mapping[str, Sequence[Event]], messages: Iterable[str]
) -> list[str]:
    """What the read side shows of each message is what the topic says."""
    return [
        f"{message_id}: the read side shows {[event['type'] for event in timelines.get(message_id, ())]}, "
        f"the topic {[event['type'] for event in timeline_of(events[message_id])]}"
        for message_id in messages
        if list(timelines.get(message_id, ())) != timeline_of(events.get(message_id, ()))
    ]


def judge_logs(folder: Path, secrets: Iterable[str], addresses: str) -> list[str]:
    """No key, body or whole address in any log (I6). `addresses`: an expression that each recipient matches."""
    forbidden = re.compile("|".join([*map(re.escape, secrets), addresses]).encode())
    faults: list[str] = []
    for path in sorted(folder.glob("*.log")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if (found := forbidden.search(line)) is not None:
                faults.append(f"{path.name}:{number} says {found.group()[:12]!r}… (I6)")
    return faults


def judge_commits(
    committed: Mapping[Place, int], unfinished: Iterable[tuple[Place, int, str]], group: str
) -> list[str]:
    """Committed is never beyond the first unfinished record (I7). `unfinished` is read after `committed`."""
    return [
        f"{group} committed {committed[place]} of {place[0]}/{place[1]}, but {what} at {offset} is not finished (I7)"
        for place, offset, what in unfinished
        if offset < committed.get(place, 0)
    ]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process held at one moment."""

    process: str
    resident: int  # bytes
    files: int  # open file descriptors


def judge_usage(samples: Iterable[Usage], *, resident: int, files: int) -> list[str]:
    """Memory and descriptors are bounded (I8)."""
    most: dict[str, Usage] = {}
    for sample in samples:
        known = most.get(sample.process, sample)
        most[sample.process] = Usage(
            sample.process, max(known.resident, sample.resident), max(known.files, sample.files)
        )
    return [
        f"{usage.process} held {usage.resident >> 20} MB and {usage.files} descriptors (I8)"
        for usage in most.values()
        if usage.resident > resident or usage.files > files
    ]
