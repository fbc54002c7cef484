"""The one judge of every end-to-end test and drill: what was promised, from three independent sides.

The client's log of accepted ids, the mails that lie in the mailbox, the public event topic. It knows no fault: a test
says what it broke, the oracle only counts (invariants I1, I2, I5 of the drill book).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from schemas.mail import TERMINAL

# Which status may follow which (architecture, section 2): what is not here is an illegal path.
FOLLOWS: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"queued"}),
    "queued": frozenset({"accepted", "suppressed", "held"}),
    "accepted": frozenset({"delivered", "deferred", "bounced", "unknown", "suppressed", "held"}),
    "deferred": frozenset({"delivered", "deferred", "bounced", "unknown", "suppressed", "held"}),
    "unknown": frozenset({"delivered", "deferred", "bounced", "unknown", "suppressed", "held"}),
    "held": frozenset({"delivered", "bounced", "suppressed"}),
    "delivered": frozenset(),
    "bounced": frozenset(),
    "suppressed": frozenset(),
}


@dataclass(slots=True)
class Evidence:
    """What the three sides saw. `copies` counts mails at the sink by message id."""

    accepted: set[str]
    events: Mapping[str, Sequence[Mapping[str, Any]]]  # by message id, in the order of the topic
    copies: Counter[str]
    faults: list[str] = field(default_factory=list)


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
    for message_id in sorted(evidence.accepted):
        faults += _judge_message(message_id, evidence)
    strangers = set(evidence.copies) - evidence.accepted
    faults += [f"{message_id}: mail at the sink that no client was told of" for message_id in sorted(strangers)]
    return faults


def _judge_message(message_id: str, evidence: Evidence) -> list[str]:
    faults: list[str] = []
    distinct: dict[str, Mapping[str, Any]] = {}
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
        if status not in FOLLOWS[before]:
            faults.append(f"{message_id}: {status} after {before} (I5)")
        before = status
    if before not in TERMINAL:
        faults.append(f"{message_id}: ends as {before}, not in a final state (I1)")
    unknowns = sum(event["data"]["status"] == "unknown" for event in path)
    copies = evidence.copies[message_id]
    if before == "delivered" and copies < 1:
        faults.append(f"{message_id}: delivered, but nothing at the sink (I1)")
    if copies > 1 + unknowns:
        faults.append(f"{message_id}: {copies} copies with {unknowns} unknown events (I2)")
    return faults
