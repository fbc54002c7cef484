"""Which path a mail takes: the first rule that fits, a weighted draw among its paths that fare well, its fallbacks (R20).

Pure: the tables come in as values, chance as a hash of message and attempt, so that a choice made again is the same one.
The router goes by it, and the API asks it what the router would do.
"""

from binascii import crc32
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rules.pauses import Pauses
from schemas.mail import Priority, Tls
from schemas.routing import PolicyUse, Route, RouteMatch, WeightedPath

# Of the mail that a path which fares badly would get, one in so many still goes there: it is how the path shows that it
# is well again, and costs at most 5 % of the mail a retry.
_TRICKLE = 20

Fares = Literal["well", "badly", "closed"]
Hindrance = Literal["unknown", "paused", "no_sender"]
Criterion = Literal["recipient_domains", "provider_groups", "from_domains", "tags", "priorities"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules and policies look at."""

    message_id: str
    attempt: int
    project_id: str
    destination: str
    provider_group: str
    from_domain: str
    tags: Sequence[str]
    priority: Priority
    keep: str | None = None  # the last attempt's path, where a greylist wants to see the same again


@dataclass(frozen=True, slots=True)
class Chosen:
    """Where an attempt goes. With `waits_for` it goes nowhere yet: none of these paths can be taken now."""

    route_id: str | None
    route_version: int | None
    path: str
    pool: str
    tls: Tls | None
    waits_for: tuple[str, ...] = ()
    tls_by: PolicyUse | None = None  # the policy that asked for it; None: the rule, or nobody


@dataclass(frozen=True, slots=True)
class Paths:
    """What there is to go by, and how it fares, at one moment."""

    default: str  # of mail that no rule fits
    pool: str  # of paths that name none
    pools: frozenset[str]  # that have topics
    upstreams: Mapping[str, str]  # id: its pool
    heard: frozenset[str]  # pools whose senders have ever told that they live; of the others nobody knows, so they do
    alive: frozenset[tuple[str, str]]  # (pool, path) that a live sender can take
    bad: frozenset[tuple[str, str]]  # (path, provider group) by measured outcome
    closed_until_ms: Mapping[tuple[str, str], int]  # (path, provider group), by every sender that has it
    pauses: Pauses

    def pool_of(self, path: str) -> str | None:
        if path.startswith("mx:"):
            pool: str | None = path.removeprefix("mx:")
        elif path.startswith("ups_"):
            pool = self.upstreams.get(path)
        else:
            pool = self.pool
        return pool if pool in self.pools else None

    def takes(self, path: str, project_id: str) -> bool:
        """Whether mail may go there at all."""
        return self.hindrance(path, project_id) is None

    def hindrance(self, path: str, project_id: str) -> Hindrance | None:
        """Why it may not: there is no such path, somebody has stopped it, or no sender has it."""
        pool = self.pool_of(path)
        if pool is None:
            return "unknown"
        if self.pauses.stops_path(project_id, path):
            return "paused"
        return None if pool not in self.heard or (pool, path) in self.alive else "no_sender"

    def fares(self, path: str, provider_group: str, now_ms: int) -> Fares:
        """At this provider, and on its own account: a smarthost is measured whatever it takes mail for."""
        places = ((path, provider_group), (path, path))
        if any(self.closed_until_ms.get(place, 0) > now_ms for place in places):
            return "closed"
        return "badly" if any(place in self.bad for place in places) else "well"


def choose(facts: Facts, routes: Sequence[Route], paths: Paths, now_ms: int) -> Chosen:
    """The path by the first of `routes` that fits, else the default one.

    A rule binds: its mail waits rather than take a path that the rule does not name.
    """
    route = next((route for route in routes if fits(route.match, facts)), None)
    if route is None:
        waits_for = () if paths.takes(paths.default, facts.project_id) else (paths.default,)
        return Chosen(None, None, paths.default, paths.pool_of(paths.default) or paths.pool, None, waits_for)
    path = _path(route, facts, paths, now_ms)
    if path is None:
        names = tuple(dict.fromkeys([*(weighted.path for weighted in route.paths), *route.fallback]))
        return Chosen(route.id, route.version, names[0], paths.pool_of(names[0]) or paths.pool, route.tls, names)
    return Chosen(route.id, route.version, path, paths.pool_of(path) or paths.pool, route.tls)


def in_order(routes: Sequence[Route]) -> tuple[Route, ...]:
    """As they are tried."""
    return tuple(sorted(routes, key=lambda route: (route.position, route.created_at, route.id)))


def fits(match: RouteMatch, facts: Facts) -> bool:
    return misfit(match, facts) is None


def misfit(match: RouteMatch, facts: Facts) -> Criterion | None:
    """The first criterion that such mail does not meet."""
    found: Criterion | None = None
    if match.recipient_domains and not any(covers(name, facts.destination) for name in match.recipient_domains):
        found = "recipient_domains"
    elif match.provider_groups and facts.provider_group not in match.provider_groups:
        found = "provider_groups"
    elif match.from_domains and not any(covers(name, facts.from_domain) for name in match.from_domains):
        found = "from_domains"
    elif match.tags and not any(tag in match.tags for tag in facts.tags):
        found = "tags"
    elif match.priorities and facts.priority not in match.priorities:
        found = "priorities"
    return found


def covers(pattern: str, domain: str) -> bool:
    """`*.example.org` is what lies below example.org, and not itself."""
    return domain.endswith(pattern[1:]) if pattern.startswith("*.") else domain == pattern


def _path(route: Route, facts: Facts, paths: Paths, now_ms: int) -> str | None:
    """Well ones by weight, then the first fallback that fares well, then whatever can be taken at all."""
    usable = [weighted for weighted in route.paths if paths.takes(weighted.path, facts.project_id)]
    spare = [path for path in route.fallback if paths.takes(path, facts.project_id)]
    fares = {path: paths.fares(path, facts.provider_group, now_ms) for path in [*(w.path for w in usable), *spare]}
    if facts.keep is not None and fares.get(facts.keep) == "well":
        return facts.keep
    draw = crc32(f"{facts.message_id}/{facts.attempt}".encode())
    first = _drawn(usable, draw)
    if first is not None and (fares[first] == "well" or (fares[first] == "badly" and _is_trickle(draw, usable))):
        return first
    well = [weighted for weighted in usable if fares[weighted.path] == "well"]
    return _drawn(well, draw) or next(
        (path for path in spare if fares[path] == "well"), first or next(iter(spare), None)
    )


def _drawn(usable: Sequence[WeightedPath], draw: int) -> str | None:
    left = draw % (sum(weighted.weight for weighted in usable) or 1)
    for weighted in usable:
        left -= weighted.weight
        if left < 0:
            return weighted.path
    return None


def _is_trickle(draw: int, usable: Sequence[WeightedPath]) -> bool:
    return draw // sum(weighted.weight for weighted in usable) % _TRICKLE == 0
