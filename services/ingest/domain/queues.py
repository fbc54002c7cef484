"""Queues (R21): what waits where, summed over all partitions, and what is asked of one: pause, resume, flush. Pure.

The numbers are of all projects' mail, as the routers told them last; a pause is of one project's mail, or of everybody's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from schemas.envelope import to_timestamp
from schemas.mail import Lane, WaitReason
from schemas.routing import QueueKind, QueuePause
from schemas.tables import Queue, QueueState
from services.ingest.domain import paths
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import domain_name, faults_of_names
from services.ingest.domain.pages import PageRequest, Position, cursor_of

PAUSE_FIELDS = frozenset({"kind", "reason"})
OTHER_FIELDS = frozenset({"kind"})  # of resume and flush
MAX_REASON = 500
MAX_CONTROLS = 1000  # of a project: routers go through them with each mail
KINDS: tuple[QueueKind, ...] = get_args(QueueKind)


@dataclass(frozen=True, slots=True)
class Place:
    """What is stopped or flushed: mail to a domain, to a provider, or over a path."""

    kind: QueueKind
    name: str


@dataclass(frozen=True, slots=True)
class Filters:
    kind: QueueKind = "destination"
    destination: str | None = None
    provider_group: str | None = None
    lane: Lane | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """One queue. Of a path nobody counts what waits."""

    place: Place
    provider_group: str | None = None
    waiting: int | None = 0
    in_flight: int | None = 0
    oldest_ms: int | None = None
    next_due_ms: int | None = None
    reason: WaitReason | None = None


def read_place(name: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Place:
    """`kind` stands in the query or in the body; without it, it is a destination. Raises Refused (422)."""
    faults: list[Fault] = []
    kind = _kind(body.get("kind") or query.get("kind"), faults)
    place = Place(kind, _name(kind, name, faults))
    if faults:
        raise invalid(faults)
    return place


def read_reason(body: Mapping[str, Any]) -> str | None:
    """Of a pause. Raises Refused (422)."""
    faults = faults_of_names(body, PAUSE_FIELDS, frozenset())
    reason = body.get("reason")
    if reason is not None and not (
        isinstance(reason, str) and len(reason) <= MAX_REASON and not FORBIDDEN_IN_HEADERS.search(reason)
    ):
        faults.append(Fault("reason", "invalid_value", f"A reason is one line of at most {MAX_REASON} characters."))
    if faults:
        raise invalid(faults)
    return reason or None


def check_nothing_more(body: Mapping[str, Any]) -> None:
    """Raises Refused (422) for members that a resume or a flush does not have."""
    if faults := faults_of_names(body, OTHER_FIELDS, frozenset()):
        raise invalid(faults)


def read_filters(query: Mapping[str, str]) -> Filters:
    """Raises Refused (422)."""
    faults: list[Fault] = []
    kind = _kind(query.get("kind"), faults)
    lane: Any = query.get("lane")
    if lane is not None and lane not in get_args(Lane):
        faults.append(Fault("lane", "invalid_value", "A lane is `express` or `standard`."))
    destination, group = query.get("destination"), query.get("provider_group")
    found = Filters(
        kind,
        None if destination is None else _name("destination", destination, faults, "destination"),
        None if group is None else _name("provider_group", group, faults, "provider_group"),
        lane,
    )
    if faults:
        raise invalid(faults)
    return found


def depths(states: Iterable[QueueState], filters: Filters) -> dict[str, Depth]:
    """By name, summed over the partitions of the lanes."""
    found: dict[str, Depth] = {}
    if filters.kind == "path":
        return found
    for state in states:
        if filters.lane in (None, state.lane):
            for queue in state.queues:
                name = queue.destination if filters.kind == "destination" else _group_of(queue)
                if _selected(queue, filters):
                    found[name] = _plus(found.get(name) or Depth(Place(filters.kind, name)), queue)
    return found


def with_paused(found: Mapping[str, Depth], pauses: Iterable[QueuePause], filters: Filters) -> list[Depth]:
    """Also what is stopped and has nothing waiting."""
    rows = dict(found)
    for pause in pauses:
        wanted = filters.destination in (None, pause.name) and filters.provider_group is None
        if pause.kind == filters.kind and wanted and pause.name not in rows:
            rows[pause.name] = nothing_at(Place(pause.kind, pause.name))
    return list(rows.values())


def nothing_at(place: Place) -> Depth:
    return Depth(place, waiting=None, in_flight=None) if place.kind == "path" else Depth(place)


def page_of(rows: Iterable[Depth], page: PageRequest) -> tuple[Sequence[Depth], str | None]:
    """The longest first. The list moves while it is read: a queue that grows may be seen twice, or not."""
    order = sorted(rows, key=_position, reverse=True)
    left = [row for row in order if page.after is None or _position(row) < page.after]
    shown = left[: page.limit]
    return shown, cursor_of(_position(shown[-1])) if len(left) > page.limit else None


def queue_shown(depth: Depth, pauses: Iterable[QueuePause]) -> dict[str, Any]:
    """`pauses`: those of the caller's project, and the installation's."""
    stopping = [pause for pause in pauses if _stops(pause, depth)]
    return {
        "kind": depth.place.kind,
        "name": depth.place.name,
        "provider_group": depth.provider_group,
        "waiting": depth.waiting,
        "in_flight": depth.in_flight,
        "oldest_at": None if depth.oldest_ms is None else to_timestamp(depth.oldest_ms),
        "next_attempt_at": None if depth.next_due_ms is None else to_timestamp(depth.next_due_ms),
        "reason": depth.reason,
        "paused": bool(stopping),
        "pauses": [_pause_shown(pause) for pause in stopping],
    }


def _pause_shown(pause: QueuePause) -> dict[str, Any]:
    return {
        "project_id": pause.project_id or None,
        "kind": pause.kind,
        "name": pause.name,
        "reason": pause.reason,
        "by": pause.by,
        "paused_at": pause.paused_at,
    }


def _stops(pause: QueuePause, depth: Depth) -> bool:
    by_group = pause.kind == "provider_group" and pause.name == depth.provider_group
    return by_group or (pause.kind, pause.name) == (depth.place.kind, depth.place.name)


def _position(depth: Depth) -> Position:
    return f"{depth.waiting or 0:012d}", depth.place.name


def _group_of(queue: Queue) -> str:
    return queue.provider_group or queue.destination


def _selected(queue: Queue, filters: Filters) -> bool:
    if filters.destination not in (None, queue.destination):
        return False
    return filters.provider_group is None or filters.provider_group == _group_of(queue)


def _plus(depth: Depth, queue: Queue) -> Depth:
    older = queue.oldest_ms is not None and (depth.oldest_ms is None or queue.oldest_ms < depth.oldest_ms)
    return replace(
        depth,
        provider_group=queue.provider_group or depth.provider_group,
        waiting=(depth.waiting or 0) + queue.waiting,
        in_flight=(depth.in_flight or 0) + queue.in_flight,
        oldest_ms=queue.oldest_ms if older else depth.oldest_ms,
        next_due_ms=min((ms for ms in (depth.next_due_ms, queue.next_due_ms) if ms is not None), default=None),
        reason=queue.reason if older else depth.reason,
    )


def _kind(value: Any, faults: list[Fault]) -> QueueKind:
    if value is None:
        return "destination"
    if isinstance(value, str) and value in KINDS:
        kind: QueueKind = value
        return kind
    faults.append(Fault("kind", "invalid_value", f"A kind is one of {', '.join(KINDS)}."))
    return "destination"


def _name(kind: QueueKind, text: str, faults: list[Fault], field: str = "name") -> str:
    try:
        match kind:
            case "destination":
                return domain_name(text)
            case "provider_group":
                return paths.provider_group(text)
            case "path":
                return paths.path(text)
    except ValueError as error:
        faults.append(Fault(field, "invalid_value", str(error)))
        return ""
