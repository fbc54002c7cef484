"""What routes, upstreams and policies have in common: whose they are, their versions, and the way back (R20).

Each change is a new version that carries what it replaced, whole; an undo puts that back as one more version, so undoing
twice does it again. A deleted entity stays, with `deleted_at`, so that its deletion can be undone.
"""

from typing import Any, TypeVar

from schemas.routing import Versioned
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused

INSTALLATION = ""  # what admin keys make holds for all projects
MAX_ENTITIES = 500  # of a kind and an owner: senders and routers go through them
MAX_DELETED = 100  # the last deletions can be undone

V = TypeVar("V", bound=Versioned)

# Of the record, not of what it says: all else is content, the deletion included.
_FRAME = frozenset({"id", "project_id", "version", "created_at", "updated_at", "updated_by", "previous"})


def owner_of(caller: Caller) -> str:
    """Whose the entities are that this key makes."""
    return INSTALLATION if caller.environment == "admin" else caller.project_id


def frame(entity_id: str, owner: str, by: str, now: str) -> dict[str, Any]:
    """The fields of a first version beside its content."""
    return {
        "id": entity_id,
        "project_id": owner,
        "version": 1,
        "created_at": now,
        "updated_at": now,
        "updated_by": by,
    }


def changed(before: V, content: dict[str, Any], by: str, now: str) -> V:
    """The next version, with `content` in the place of what it replaces."""
    record = before.model_dump() | content
    return _next(before, record, by, now)


def undone(before: V, by: str, now: str) -> V:
    """What it said before the last change, as the next version. Raises Refused (409) where there was nothing before."""
    if before.previous is None:
        raise Refused("conflict", "This is its first version: there is nothing to undo. DELETE takes it away.")
    return _next(before, before.model_dump() | before.previous, by, now)


def _next(before: V, record: dict[str, Any], by: str, now: str) -> V:
    version = {"version": before.version + 1, "updated_at": now, "updated_by": by}
    return type(before).model_validate(record | version | {"previous": _content_of(before)})


def _content_of(entity: Versioned) -> dict[str, Any]:
    return entity.model_dump(mode="json", exclude=set(_FRAME))


def frame_shown(entity: Versioned) -> dict[str, Any]:
    """What every such entity shows of itself; the installation's own show no project."""
    return {
        "id": entity.id,
        "project_id": entity.project_id or None,
        "name": entity.name,
        "version": entity.version,
        "created_at": entity.created_at,
        "updated_at": entity.updated_at,
        "updated_by": entity.updated_by,
        "undoable": entity.previous is not None,
    }
