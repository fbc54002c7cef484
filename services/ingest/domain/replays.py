"""Events that a webhook is to be called with once more: what a customer may ask for, and what is shown of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.webhooks import LONGEST_REPLAY_MS, ReplayState
from services.ingest.domain.endpoints import read_event_types
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names
from services.ingest.domain.times import read_time

OF_A_WINDOW = ("since", "until", "event_types", "only_failed")
FIELDS = frozenset({"event_id", *OF_A_WINDOW})
_EVENT_ID = re.compile(r"evt_[0-9A-Z]{26,31}")


@dataclass(frozen=True, slots=True)
class NewReplay:
    """One event, or those of a window (Unix ms, its end exclusive)."""

    event_id: str | None
    since_ms: int
    until_ms: int
    event_types: tuple[str, ...] = ()
    only_failed: bool = False


def read_replay(body: Mapping[str, Any], now_ms: int) -> NewReplay:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, frozenset())
    event_id = body.get("event_id")
    asked = _window(body, now_ms, faults) if event_id is None else _one(event_id, body, now_ms, faults)
    if faults:
        raise invalid(faults)
    return asked


def replay_shown(replay: ReplayState) -> dict[str, Any]:
    """A replay as the API shows it; `since` and `until` are null where one event is replayed."""
    of_window = replay.event_id is None
    return {
        "object": "replay",
        "id": replay.id,
        "endpoint_id": replay.webhook_id,
        "status": replay.status,
        "reason": replay.reason,
        "event_id": replay.event_id,
        "since": replay.since if of_window else None,
        "until": replay.until if of_window else None,
        "event_types": replay.event_types,
        "only_failed": replay.only_failed,
        "matched": replay.matched,
        "queued": replay.queued,
        "created_at": replay.created_at,
        "finished_at": replay.finished_at,
    }


def _one(event_id: Any, body: Mapping[str, Any], now_ms: int, faults: list[Fault]) -> NewReplay:
    if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        faults.append(Fault("event_id", "invalid_value", "`event_id` is the `webhook-id` of a call: evt_…"))
    contradicting = [name for name in OF_A_WINDOW if body.get(name) is not None]
    faults += [Fault(name, "conflict", "Name either one event or a window.") for name in contradicting]
    return NewReplay(str(event_id), max(0, now_ms - LONGEST_REPLAY_MS), now_ms)


def _window(body: Mapping[str, Any], now_ms: int, faults: list[Fault]) -> NewReplay:
    since_ms, until_ms = read_time(body, "since", faults), read_time(body, "until", faults)
    if body.get("since") is None:
        faults.append(Fault("since", "required", "Give `since`, or the `event_id` of one event."))
    elif since_ms is not None and not now_ms - LONGEST_REPLAY_MS <= since_ms < (until_ms or now_ms):
        faults.append(Fault("since", "invalid_value", "`since` is at most 14 days ago, and before `until`."))
    if until_ms is not None and until_ms > now_ms:
        faults.append(Fault("until", "invalid_value", "`until` has not come yet; leave it out for now."))
    types: tuple[str, ...] = ()
    if body.get("event_types") is not None:
        types = read_event_types(body["event_types"], "event_types", faults)
    only_failed = body.get("only_failed")
    if only_failed is not None and not isinstance(only_failed, bool):
        faults.append(Fault("only_failed", "invalid_type", "`only_failed` is true or false."))
    return NewReplay(None, since_ms or 0, now_ms if until_ms is None else until_ms, types, only_failed is True)
