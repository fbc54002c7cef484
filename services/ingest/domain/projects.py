"""Projects, the tenants (R14): what may be asked of one, and what its plan grants each of its keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from schemas.tables import Plan, Project
from services.ingest.domain.addresses import InvalidAddress, parse_address
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.durations import duration_shown, read_retry_schedule
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names, read_tags

FIELDS = frozenset({"name", "plan", "requests_per_minute", "from", "unsubscribe_tags", "retry_schedule"})
MAX_NAME = 100
STANDARD_REQUESTS_PER_MINUTE = 1000
MAX_REQUESTS_PER_MINUTE = 10_000_000  # beyond it a limit is a typing error
ALL_TAGS = "*"


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """Everything about a project that can be changed."""

    name: str
    default_from: str | None
    plan: Plan
    requests_per_minute: int | None
    unsubscribe_tags: tuple[str, ...]
    retry_schedule_ms: tuple[int, ...] | None = None  # None: the service's own


NEW = ProjectSettings("", None, "standard", None, ())


def requests_per_minute_of(project: Project | None) -> int:
    """What each key of the project is granted; a project nobody knows is a standard one."""
    if project is None or project.plan == "standard" or project.requests_per_minute is None:
        return STANDARD_REQUESTS_PER_MINUTE
    return project.requests_per_minute


def settings_of(project: Project) -> ProjectSettings:
    tags = tuple(project.unsubscribe_tags)
    waits = None if project.retry_schedule_ms is None else tuple(project.retry_schedule_ms)
    return ProjectSettings(project.name, project.default_from, project.plan, project.requests_per_minute, tags, waits)


def read_project(body: Mapping[str, Any], before: ProjectSettings = NEW) -> ProjectSettings:
    """`before` with the members of `body`; those that are not there stay. Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, frozenset())
    name = _name(body.get("name", before.name), faults)
    plan = _plan(body.get("plan", before.plan), faults)
    asked = body.get("requests_per_minute", before.requests_per_minute)
    if plan == "standard" and "requests_per_minute" not in body:
        asked = None  # the number of an earlier plan does not stay
    per_minute = _per_minute(asked, plan, faults)
    sender = _sender(body.get("from", before.default_from), faults)
    tags = _unsubscribe_tags(body.get("unsubscribe_tags", before.unsubscribe_tags), faults)
    waits = before.retry_schedule_ms
    if "retry_schedule" in body:
        waits = read_retry_schedule(body["retry_schedule"], faults)
    if faults:
        raise invalid(faults)
    return ProjectSettings(name, sender, plan, per_minute, tags, waits)


def project_shown(project: Project) -> dict[str, Any]:
    waits = project.retry_schedule_ms
    return {
        "id": project.id,
        "name": project.name,
        "plan": project.plan,
        "requests_per_minute": requests_per_minute_of(project),
        "from": project.default_from,
        "unsubscribe_tags": project.unsubscribe_tags,
        "retry_schedule": None if waits is None else [duration_shown(wait) for wait in waits],
        "created_at": project.created_at,
    }


def _name(value: Any, faults: list[Fault]) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME and not FORBIDDEN_IN_HEADERS.search(value):
        return value
    code = "required" if value is None or value == "" else "invalid_value"
    faults.append(Fault("name", code, f"A name is one line of 1 to {MAX_NAME} characters."))
    return ""


def _plan(value: Any, faults: list[Fault]) -> Plan:
    if isinstance(value, str) and value in get_args(Plan):
        plan: Plan = value  # type: ignore[assignment]  # it is in the Literal: checked in the line above
        return plan
    faults.append(Fault("plan", "invalid_value", "A plan is `standard` or `enterprise`."))
    return "standard"


def _per_minute(value: Any, plan: Plan, faults: list[Fault]) -> int | None:
    if plan == "standard":
        if value is not None:
            message = (
                f"The plan `standard` grants {STANDARD_REQUESTS_PER_MINUTE} a minute; `enterprise` takes a number."
            )
            faults.append(Fault("requests_per_minute", "conflict", message))
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_REQUESTS_PER_MINUTE:
        return value
    code = "required" if value is None else "invalid_value"
    message = f"The plan `enterprise` needs a number from 1 to {MAX_REQUESTS_PER_MINUTE}."
    faults.append(Fault("requests_per_minute", code, message))
    return None


def _sender(value: Any, faults: list[Fault]) -> str | None:
    """The default `from`; whether its domain is verified is found out when it is used."""
    if value is None:
        return None
    if not isinstance(value, str):
        faults.append(Fault("from", "invalid_type", "An address is a string: `a@b` or `Name <a@b>`."))
        return None
    try:
        return parse_address(value).header
    except InvalidAddress as error:
        faults.append(Fault("from", "invalid_address", str(error)))
        return None


def _unsubscribe_tags(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    """A list of tags; or `*`, alone or as the list's only entry, for all mail."""
    if value in (ALL_TAGS, [ALL_TAGS], (ALL_TAGS,)):
        return (ALL_TAGS,)
    found: list[Fault] = []
    tags = read_tags(list(value) if isinstance(value, tuple) else value, found)
    # The reader of tags calls its field `tags`, as messages do.
    faults += [
        Fault(f"unsubscribe_{fault.field}", fault.code, fault.message.replace("`tags`", "`unsubscribe_tags`"))
        for fault in found
    ]
    return tags
