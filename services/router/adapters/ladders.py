"""The projects' own retry schedules, over the table of projects (R14, R22). It must never know of a default."""

from collections.abc import Mapping

from schemas.tables import Project
from services.router.domain.ladder import Ladder


class ProjectLadders:
    """Implements `services.router.ports.Ladders`. What it says is as fresh as the table, which nothing waits for."""

    def __init__(self, projects: Mapping[str, Project]) -> None:
        self._projects = projects

    def of(self, project_id: str) -> Ladder | None:
        project = self._projects.get(project_id)
        if project is None or not project.retry_schedule_ms:
            return None
        return Ladder(tuple(project.retry_schedule_ms))
