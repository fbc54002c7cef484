"""Projects, the tenants (R14): made and changed with an admin key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.tables import Project
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.projects import ProjectSettings, project_shown, read_project, settings_of
from services.ingest.ports import Entities

Shown = dict[str, Any]
INSTALLATION = ""  # whose all projects are


@dataclass(frozen=True, slots=True)
class ManageProjects:
    clock: Clock
    projects: Entities[Project]

    async def create(self, body: Mapping[str, Any]) -> Shown:
        """Raises Refused, LogUnavailable."""
        settings = read_project(body)
        now_ms = self.clock.now_ms()
        return await self._put(new_id("prj", now_ms), to_timestamp(now_ms), settings)

    def page(self, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.projects.page(INSTALLATION, page)
        return [project_shown(project) for project in found], cursor

    def show(self, project_id: str) -> Shown:
        return project_shown(self._find(project_id))

    async def change(self, project_id: str, body: Mapping[str, Any]) -> Shown:
        """What is not named stays. Raises Refused, LogUnavailable."""
        project = self._find(project_id)
        return await self._put(project.id, project.created_at, read_project(body, settings_of(project)))

    async def _put(self, project_id: str, created_at: str, settings: ProjectSettings) -> Shown:
        """Returns when every replica goes by it."""
        project = Project(
            id=project_id,
            name=settings.name,
            default_from=settings.default_from,
            created_at=created_at,
            plan=settings.plan,
            requests_per_minute=settings.requests_per_minute,
            unsubscribe_tags=list(settings.unsubscribe_tags),
            retry_schedule_ms=None if settings.retry_schedule_ms is None else list(settings.retry_schedule_ms),
        )
        await self.projects.put(project.id, project)
        await self.clock.sleep(ANSWER_AFTER)
        return project_shown(project)

    def _find(self, project_id: str) -> Project:
        found = self.projects.get(INSTALLATION, project_id)
        if found is None:
            raise Refused("not_found", "There is no such project.")
        return found
