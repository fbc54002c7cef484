"""Queues that somebody has stopped, and what a mail that stands in one waits for (R21).

Pure. A pause is of one project (or of all, ""), and names a destination, a provider group or a path.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from schemas.mail import WaitReason
from schemas.routing import QueueKind, QueuePause

_SEPARATOR = "\n"  # stands in no name


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


@dataclass(frozen=True, slots=True)
class Bar:
    """Why mail that stands in a queue may not be called: a pause, or that none of its paths can be taken.

    The local file keeps it as one text; mail with the same bar is let go together.
    """

    project_id: str
    kind: QueueKind
    names: tuple[str, ...]

    @classmethod
    def of_pause(cls, place: tuple[str, QueueKind, str]) -> "Bar":
        project_id, kind, name = place
        return cls(project_id, kind, (name,))

    @classmethod
    def of_paths(cls, project_id: str, paths: Iterable[str]) -> "Bar":
        return cls(project_id, "path", tuple(paths))

    @classmethod
    def parse(cls, text: str) -> "Bar":
        project_id, kind, *names = text.split(_SEPARATOR)
        assert kind in {"destination", "provider_group", "path"}
        return cls(project_id, kind, tuple(names))  # type: ignore[arg-type]  # one of the three

    def text(self) -> str:
        return _SEPARATOR.join((self.project_id, self.kind, *self.names))

    @property
    def reason(self) -> WaitReason:
        return "path_paused" if self.kind == "path" else "destination_paused"
