"""Routes (R20): made, changed, removed and undone by their project, or for all projects with an admin key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from schemas.events import RouteChanged
from schemas.routing import Route, Upstream
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.paths import is_upstream_id
from services.ingest.domain.routes import new_route, paths_of, read_route, route_shown, settings_of
from services.ingest.domain.versions import INSTALLATION, owner_of
from services.ingest.management.versions import Kept, Shown
from services.ingest.ports import AccountEvents, Versions


def kept_routes(clock: Clock, routes: Versions[Route], events: AccountEvents) -> Kept[Route]:
    return Kept(clock, routes, events, Route, RouteChanged, "route", "rte", route_shown)


@dataclass(frozen=True, slots=True)
class ManageRoutes:
    kept: Kept[Route]
    upstreams: Versions[Upstream]

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """Raises Refused, LogUnavailable."""
        owner = owner_of(caller)
        last = max((route.position for route in self.kept.entities.live(owner)), default=None)
        return await self.kept.create(caller, read_route(body, new_route(last), self._known(owner)).content())

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        return self.kept.page(caller, page)

    def show(self, caller: Caller, route_id: str) -> Shown:
        return self.kept.show(caller, route_id)

    async def change(self, caller: Caller, route_id: str, body: Mapping[str, Any]) -> Shown:
        """What is not named stays. Raises Refused, LogUnavailable."""

        def content(route: Route) -> dict[str, Any]:
            return read_route(body, settings_of(route), self._known(route.project_id)).content()

        return await self.kept.change(caller, route_id, content)

    async def delete(self, caller: Caller, route_id: str) -> Shown:
        return await self.kept.delete(caller, route_id)

    async def undo(self, caller: Caller, route_id: str) -> Shown:
        return await self.kept.undo(caller, route_id, self._check_paths)

    def _check_paths(self, route: Route) -> None:
        """Raises Refused (409) where an earlier version names an upstream that has gone since."""
        known = self._known(route.project_id)
        gone = [path for path in paths_of(route) if is_upstream_id(path) and path not in known]
        if gone and route.deleted_at is None:
            raise Refused("conflict", f"That version names an upstream that is no longer there: {gone[0]}.")

    def _known(self, owner: str) -> frozenset[str]:
        """Upstreams that rules of this owner may name."""
        return frozenset(upstream.id for name in {owner, INSTALLATION} for upstream in self.upstreams.live(name))
