"""Templates: a head for each, and each of its versions as a record of its own that never changes.

Both lie in one topic, so that every reader has a version before the head that publishes it.
"""

from typing import ClassVar

from schemas.envelope import Payload, Timestamp, by_type


class Template(Payload):
    """Key: id. Which versions there are, the versions' own records say."""

    TYPE: ClassVar[str] = "table.template"
    id: str
    project_id: str
    name: str  # never changes
    published_version: int | None
    created_at: Timestamp
    updated_at: Timestamp  # of the last publication
    deleted_at: Timestamp | None  # no new mail; kept for requests that were accepted before


class TemplateVersion(Payload):
    """Key: id:version:token. Where two writers took one number, the first in the log has it, the other takes the next."""

    TYPE: ClassVar[str] = "table.template_version"
    id: str  # of the template
    project_id: str
    name: str  # of the template
    version: int
    token: str  # of the writer's request
    subject: str | None
    text: str | None
    html: str | None
    from_: str | None
    created_at: Timestamp


def version_key(version: TemplateVersion) -> str:
    return f"{version.id}:{version.version}:{version.token}"


TEMPLATES = by_type(Template, TemplateVersion)
