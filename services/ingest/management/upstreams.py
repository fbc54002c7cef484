"""Upstreams (R20, R54): smarthosts, whose passwords are sealed when they come in and never leave again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from schemas.events import UpstreamChanged
from schemas.routing import Route, Upstream
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.routes import paths_of
from services.ingest.domain.upstreams import NEW, UpstreamSettings, read_upstream, settings_of, upstream_shown
from services.ingest.domain.versions import INSTALLATION, owner_of
from services.ingest.management.versions import Kept, Shown
from services.ingest.ports import AccountEvents, Seals, Versions


def kept_upstreams(clock: Clock, upstreams: Versions[Upstream], events: AccountEvents) -> Kept[Upstream]:
    return Kept(clock, upstreams, events, Upstream, UpstreamChanged, "upstream", "ups", upstream_shown)


@dataclass(frozen=True, slots=True)
class ManageUpstreams:
    """`allow_private`: also projects may name hosts in private networks and on loopback; the installation may anyway."""

    kept: Kept[Upstream]
    routes: Versions[Route]
    seals: Seals
    allow_private: bool

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """Raises Refused, LogUnavailable."""
        settings = self._read(body, NEW, owner_of(caller))
        return await self.kept.create(caller, self._content(settings, None))

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        return self.kept.page(caller, page)

    def show(self, caller: Caller, upstream_id: str) -> Shown:
        return self.kept.show(caller, upstream_id)

    async def change(self, caller: Caller, upstream_id: str, body: Mapping[str, Any]) -> Shown:
        """What is not named stays. Raises Refused, LogUnavailable."""

        def content(upstream: Upstream) -> dict[str, Any]:
            settings = self._read(body, settings_of(upstream), upstream.project_id)
            return self._content(settings, upstream.sealed_password)

        return await self.kept.change(caller, upstream_id, content)

    async def delete(self, caller: Caller, upstream_id: str) -> Shown:
        return await self.kept.delete(caller, upstream_id, self._check_unused)

    async def undo(self, caller: Caller, upstream_id: str) -> Shown:
        return await self.kept.undo(caller, upstream_id, self._check_unused)

    def _read(self, body: Mapping[str, Any], before: UpstreamSettings, owner: str) -> UpstreamSettings:
        return read_upstream(body, before, allow_private=self.allow_private or owner == INSTALLATION)

    def _check_unused(self, upstream: Upstream) -> None:
        """Raises Refused (409) where a rule would lead to an upstream that is no longer there."""
        if upstream.deleted_at is None:
            return
        named = [route for route in self.routes.all_live() if upstream.id in paths_of(route)]
        own = sorted(route.id for route in named if route.project_id == upstream.project_id)
        if named:
            where = ", ".join(own[:5]) or "routes of projects"
            raise Refused("conflict", f"Routes lead to it: {where}. Change or delete them first.")

    def _content(self, settings: UpstreamSettings, sealed: str | None) -> dict[str, Any]:
        if settings.password is not None:
            sealed = self.seals.seal(settings.password)
        return settings.content() | {"sealed_password": sealed if settings.password_set else None}
