"""Routes (R20): which mail a rule is for, and which paths it takes. Pure: which upstreams there are has been looked up."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from schemas.mail import Priority, Tls
from schemas.routing import Route, RouteMatch, WeightedPath
from services.ingest.domain import paths
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names, read_list
from services.ingest.domain.versions import frame_shown

FIELDS = frozenset({"name", "position", "match", "paths", "fallback", "tls"})
MATCH_FIELDS = frozenset({"recipient_domains", "provider_groups", "from_domains", "tags", "priorities"})
PATH_FIELDS = frozenset({"path", "weight"})
NOTHING: frozenset[str] = frozenset()
MAX_PATHS = 10
MAX_WEIGHT = 100
MAX_POSITION = 1_000_000
STEP = 10  # between a new rule and the last one, so that others fit between


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """Everything about a route that can be changed."""

    name: str
    position: int
    match: RouteMatch
    paths: tuple[WeightedPath, ...]
    fallback: tuple[str, ...]
    tls: Tls | None

    def content(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "position": self.position,
            "match": self.match.model_dump(),
            "paths": [path.model_dump() for path in self.paths],
            "fallback": list(self.fallback),
            "tls": self.tls,
        }


def new_route(last_position: int | None) -> RouteSettings:
    """What a route is before its maker has said anything: the last one, for all mail, without paths."""
    position = STEP if last_position is None else min(last_position + STEP, MAX_POSITION)
    return RouteSettings("", position, RouteMatch(), (), (), None)


def settings_of(route: Route) -> RouteSettings:
    return RouteSettings(route.name, route.position, route.match, tuple(route.paths), tuple(route.fallback), route.tls)


def read_route(body: Mapping[str, Any], before: RouteSettings, upstreams: Collection[str]) -> RouteSettings:
    """`before` with the members of `body`; those that are not there stay. Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, NOTHING)
    found = RouteSettings(
        name=paths.read_name(body.get("name", before.name), faults),
        position=_position(body["position"], faults) if "position" in body else before.position,
        match=_match(body["match"], faults) if "match" in body else before.match,
        paths=_weighted(body["paths"], upstreams, faults) if "paths" in body else before.paths,
        fallback=_fallback(body["fallback"], upstreams, faults) if "fallback" in body else before.fallback,
        tls=paths.read_tls(body.get("tls", before.tls), faults),
    )
    if not found.paths and not any(fault.field.startswith("paths") for fault in faults):
        faults.append(
            Fault("paths", "required", 'Give one path or more: `["mx:main"]`, an upstream\'s id, `upstream`.')
        )
    twice = {path.path for path in found.paths} & set(found.fallback)
    if twice:
        faults.append(Fault("fallback", "duplicate", f"Among `paths` already: {', '.join(sorted(twice))}."))
    if faults:
        raise invalid(faults)
    return found


def route_shown(route: Route) -> dict[str, Any]:
    settings = settings_of(route)
    return frame_shown(route) | settings.content()


def paths_of(route: Route) -> list[str]:
    return [path.path for path in route.paths] + route.fallback


def _position(value: Any, faults: list[Fault]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_POSITION:
        return value
    message = f"A position is a whole number from 0 to {MAX_POSITION}; the lowest rule that fits counts."
    faults.append(Fault("position", "invalid_value", message))
    return 0


def _match(value: Any, faults: list[Fault]) -> RouteMatch:
    """Null, and an empty object, fit all mail."""
    if value is None:
        return RouteMatch()
    if not isinstance(value, Mapping):
        faults.append(Fault("match", "invalid_type", "`match` is an object."))
        return RouteMatch()
    found: list[Fault] = faults_of_names(value, MATCH_FIELDS, NOTHING)
    match = RouteMatch(
        recipient_domains=list(
            read_list(value.get("recipient_domains"), "recipient_domains", paths.domain_or_below, found)
        ),
        provider_groups=list(read_list(value.get("provider_groups"), "provider_groups", paths.provider_group, found)),
        from_domains=list(read_list(value.get("from_domains"), "from_domains", paths.domain_or_below, found)),
        tags=list(read_list(value.get("tags"), "tags", paths.tag, found)),
        priorities=_priorities(value.get("priorities"), found),
    )
    faults += [Fault(f"match.{fault.field}", fault.code, fault.message) for fault in found]
    return match


def _priorities(value: Any, faults: list[Fault]) -> list[Priority]:
    known = get_args(Priority)

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"A priority is one of {', '.join(known)}.")
        return text

    found: list[Any] = list(read_list(value, "priorities", read, faults))
    return found


def _weighted(value: Any, upstreams: Collection[str], faults: list[Fault]) -> tuple[WeightedPath, ...]:
    """Each a name, or `{"path", "weight"}`."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PATHS:
        faults.append(Fault("paths", "invalid_value", f"`paths` is a list of 1 to {MAX_PATHS} paths."))
        return ()
    found: list[WeightedPath] = []
    for index, item in enumerate(value):
        field = f"paths[{index}]"
        given: Mapping[str, Any] = item if isinstance(item, Mapping) else {"path": item}
        faults += [
            Fault(f"{field}.{fault.field}", fault.code, fault.message)
            for fault in faults_of_names(given, PATH_FIELDS, NOTHING)
        ]
        path = _path(given.get("path"), f"{field}.path" if given is item else field, upstreams, faults)
        weight = paths.read_number(given.get("weight", 1), f"{field}.weight", MAX_WEIGHT, faults) or 1
        if path and any(path == other.path for other in found):
            faults.append(Fault(field, "duplicate", f"`{path}` is given twice; say its `weight` once."))
        found.append(WeightedPath(path=path, weight=weight))
    return tuple(found)


def _fallback(value: Any, upstreams: Collection[str], faults: list[Fault]) -> tuple[str, ...]:
    """In order; null for none."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_PATHS:
        faults.append(Fault("fallback", "invalid_value", f"`fallback` is a list of at most {MAX_PATHS} paths."))
        return ()
    found = [_path(item, f"fallback[{index}]", upstreams, faults) for index, item in enumerate(value)]
    return tuple(dict.fromkeys(path for path in found if path))


def _path(value: Any, field: str, upstreams: Collection[str], faults: list[Fault]) -> str:
    try:
        path = paths.path(value if isinstance(value, str) else "")
    except ValueError as error:
        faults.append(Fault(field, "invalid_value", str(error)))
        return ""
    if paths.is_upstream_id(path) and path not in upstreams:
        faults.append(Fault(field, "unknown_path", "There is no such upstream."))
        return ""
    return path
