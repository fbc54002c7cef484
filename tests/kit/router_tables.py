"""Entries of the tables that the router goes by, for its tests: valid by default, each field by keyword."""

from typing import Any

from rules.pauses import Pauses
from rules.routing import Facts, Paths
from schemas.envelope import to_timestamp
from schemas.routing import (
    Destination,
    PathHealth,
    Policy,
    QueueFlush,
    QueueKind,
    QueuePause,
    Route,
    RouteMatch,
    SenderAlive,
    Upstream,
    WeightedPath,
)
from schemas.tables import Domain
from tests.kit.router_inputs import PROJECT, START_MS

_AT = to_timestamp(START_MS)


def _entity(of: str, fields: dict[str, Any]) -> dict[str, Any]:
    known = {
        "id": of,
        "project_id": PROJECT,
        "name": of,
        "version": 1,
        "created_at": _AT,
        "updated_at": _AT,
        "updated_by": "key_1",
    }
    return known | fields


def route(of: str = "rte_1", *, match: dict[str, Any] | None = None, **fields: Any) -> Route:
    """`paths`: names, or (name, weight)."""
    paths = [
        WeightedPath(path=p) if isinstance(p, str) else WeightedPath(path=p[0], weight=p[1]) for p in fields["paths"]
    ]
    known: dict[str, Any] = {"position": 1} | fields | {"paths": paths}
    return Route(match=RouteMatch(**(match or {})), **_entity(of, known))


def policy(of: str = "pol_1", **fields: Any) -> Policy:
    return Policy(**_entity(of, fields))


def upstream(of: str = "ups_1", **fields: Any) -> Upstream:
    return Upstream(**_entity(of, {"host": "smtp.example.net", "port": 587} | fields))


def pause(kind: QueueKind, name: str, project_id: str = PROJECT) -> QueuePause:
    return QueuePause(project_id=project_id, kind=kind, name=name, reason=None, by="key_1", paused_at=_AT)


def flush(kind: QueueKind, name: str, at_ms: int, project_id: str = PROJECT) -> QueueFlush:
    return QueueFlush(project_id=project_id, kind=kind, name=name, by="key_1", flushed_at=to_timestamp(at_ms))


def key_of(control: QueuePause | QueueFlush) -> str:
    what = "pause" if isinstance(control, QueuePause) else "flush"
    return f"{what}:{control.project_id}:{control.kind}:{control.name}"


def destination(of: str, group: str) -> Destination:
    return Destination(destination=of, provider_group=group, mx_hosts=[], resolved_at_ms=START_MS)


def alive(*paths: str, pool: str = "main", instance: str = "1", at_ms: int = START_MS) -> SenderAlive:
    return SenderAlive(pool=pool, instance=instance, at_ms=at_ms, paths=list(paths))


def health(path: str, group: str, **counted: Any) -> PathHealth:
    known: dict[str, Any] = {"taken_at_ms": START_MS, "window_ms": 300_000, "source_address": None}
    return PathHealth(pool="main", instance="1", path=path, provider_group=group, **(known | counted))


def domain(of: str, *, verified: bool) -> Domain:
    return Domain(id="dom_1", project_id=PROJECT, domain=of, verified_at=_AT if verified else None)


def facts(**fields: Any) -> Facts:
    known: dict[str, Any] = {
        "message_id": "msg_1",
        "attempt": 1,
        "project_id": PROJECT,
        "destination": "example.org",
        "provider_group": "example.org",
        "from_domain": "example.com",
        "tags": ["otp"],
        "priority": "normal",
    }
    return Facts(**(known | fields))


def paths(**fields: Any) -> Paths:
    """Everything lives and fares well, where a test says nothing else."""
    known: dict[str, Any] = {
        "default": "upstream",
        "pool": "main",
        "pools": frozenset({"main", "spare"}),
        "upstreams": {"ups_1": "main", "ups_2": "main", "ups_3": "spare"},
        "heard": frozenset(),
        "alive": frozenset(),
        "bad": frozenset(),
        "closed_until_ms": {},
        "pauses": Pauses(),
    }
    return Paths(**(known | fields))
