"""Queues that somebody has stopped (R21). Pure.

A pause is of one project (or of all, ""), and names a destination, a provider group or a path.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from schemas.routing import QueueKind, QueuePause


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses that stand, by (project, kind, name)."""

    standing: AbstractSet[tuple[str, QueueKind, str]] = field(default_factory=frozenset)

    def stops(self, project_id: str, destination: str, provider_group: str) -> tuple[str, QueueKind, str] | None:
        """The pause that keeps such mail here, whatever path it would take."""
        if not self.standing:
            return None
        names: tuple[tuple[QueueKind, str], ...] = (("destination", destination), ("provider_group", provider_group))
        for kind, name in names:
            for project in ("", project_id):
                if (project, kind, name) in self.standing:
                    return project, kind, name
        return None

    def concern(self, destination: str, provider_group: str) -> bool:
        """Whether mail of any project is stopped there."""
        places = {("destination", destination), ("provider_group", provider_group)}
        return any((kind, name) in places for _, kind, name in self.standing)

    def stops_path(self, project_id: str, path: str) -> bool:
        return bool(self.standing) and (
            ("", "path", path) in self.standing or (project_id, "path", path) in self.standing
        )


def place_of(pause: QueuePause) -> tuple[str, QueueKind, str]:
    return pause.project_id, pause.kind, pause.name
