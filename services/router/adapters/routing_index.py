"""Routes, upstreams, policies, queue controls, destinations and domains, as the router goes by them (R20, R21, R26).

Folded from table changes into one `Directions`, which is made anew only when something has changed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from chassis.clock import Clock
from rules.pauses import Pauses, place_of
from rules.routing import Paths, in_order
from schemas.routing import (
    Destination,
    PathHealth,
    Policy,
    QueueFlush,
    QueueKind,
    QueuePause,
    Route,
    SenderAlive,
    Upstream,
    Versioned,
)
from schemas.tables import Domain
from schemas.topics import POOLS
from services.router.adapters.path_watch import PathWatch
from services.router.domain.directions import Directions
from services.router.ports import OnGrouped

# How late a change of a path's health may be seen: a part of the 2 s in which a path is to lose its mail.
_LOOK_EVERY = 0.2  # seconds

V = TypeVar("V", bound=Versioned)


class RoutingIndex:
    """Implements `services.router.ports.Tables`. `default_path` is of mail that no rule fits."""

    def __init__(self, default_path: str, pool: str, clock: Clock) -> None:
        self._default_path = default_path
        self._pool = pool
        self._clock = clock
        self._routes: dict[str, Route] = {}
        self._upstreams: dict[str, Upstream] = {}
        self._policies: dict[str, Policy] = {}
        self._pauses: dict[str, tuple[str, QueueKind, str]] = {}
        self._flushes: dict[str, QueueFlush] = {}
        self._groups: dict[str, str] = {}
        self._lapsed: set[tuple[str, str]] = set()
        self._watch = PathWatch(clock)
        self._watchers: set[OnGrouped] = set()
        self._version = 0
        self._standing = Pauses()
        self._made: Directions | None = None
        self._made_at = 0.0

    # as its port

    def now(self) -> Directions:
        at = self._clock.monotonic()
        if self._made is None or at - self._made_at >= _LOOK_EVERY:
            self._made, self._made_at = self._make(), at
        return self._made

    def group_of(self, destination: str) -> str:
        return self._groups.get(destination, destination)

    def watch(self, notify: OnGrouped) -> Callable[[], None]:
        self._watchers.add(notify)
        return lambda: self._watchers.discard(notify)

    # as told by the tables

    def route_changed(self, key: str, _before: Route | None, after: Route | None) -> None:
        _fold(self._routes, key, after)
        self._rerouted()

    def upstream_changed(self, key: str, _before: Upstream | None, after: Upstream | None) -> None:
        _fold(self._upstreams, key, after)
        self._rerouted()

    def policy_changed(self, key: str, _before: Policy | None, after: Policy | None) -> None:
        _fold(self._policies, key, after)
        self._made = None

    def control_changed(
        self, key: str, _before: QueuePause | QueueFlush | None, after: QueuePause | QueueFlush | None
    ) -> None:
        self._pauses.pop(key, None)
        self._flushes.pop(key, None)
        if isinstance(after, QueuePause):
            self._pauses[key] = place_of(after)
        elif isinstance(after, QueueFlush):
            self._flushes[key] = after
        self._standing = Pauses(frozenset(self._pauses.values()))
        self._made = None

    def destination_changed(self, key: str, _before: Destination | None, after: Destination | None) -> None:
        known = self.group_of(key)
        self._groups.pop(key, None)
        if after is not None and after.provider_group != key:
            self._groups[key] = after.provider_group
        if self.group_of(key) != known:
            for notify in self._watchers:
                notify(key)

    def health_changed(
        self, key: str, before: PathHealth | SenderAlive | None, after: PathHealth | SenderAlive | None
    ) -> None:
        self._watch.changed(key, before, after)

    def domain_changed(self, _key: str, before: Domain | None, after: Domain | None) -> None:
        if before is not None:
            self._lapsed.discard((before.project_id, before.domain))
        if after is not None and after.verified_at is None:
            self._lapsed.add((after.project_id, after.domain))

    def _rerouted(self) -> None:
        self._version += 1
        self._made = None

    def _make(self) -> Directions:
        seen = self._watch.look()
        return Directions(
            paths=Paths(
                default=self._default_path,
                pool=self._pool,
                pools=frozenset(POOLS),
                upstreams={key: upstream.pool for key, upstream in self._upstreams.items()},
                heard=seen.heard,
                alive=seen.alive,
                bad=seen.bad,
                closed_until_ms=seen.closed_until_ms,
                pauses=self._standing,
            ),
            routes={project: in_order(some) for project, some in _by_project(self._routes.values()).items()},
            policies=_by_project(self._policies.values()),
            flushes=tuple(self._flushes.values()),
            lapsed=self._lapsed,
            version=self._version,
        )


def _fold(entries: dict[str, V], key: str, after: V | None) -> None:
    """What was deleted stays in the table, so that it can be put back."""
    if after is None or after.deleted_at is not None:
        entries.pop(key, None)
    else:
        entries[key] = after


def _by_project(entries: Iterable[V]) -> Mapping[str, list[V]]:
    found: dict[str, list[V]] = defaultdict(list)
    for entry in entries:
        found[entry.project_id].append(entry)
    return dict(found)
