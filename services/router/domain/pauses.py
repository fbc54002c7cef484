"""What keeps mail that stands in a queue from being called, and what it then waits for (R21). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.mail import WaitReason
from schemas.routing import QueueKind

_SEPARATOR = "\n"  # stands in no name


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
