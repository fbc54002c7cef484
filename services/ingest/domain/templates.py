"""Templates as mail is made from them (R8): what is rendered, what became of it, and the submission it fills.

Pure: the rendering itself happens elsewhere, where a bomb can be stopped.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from schemas.templates import Template, TemplateVersion
from services.ingest.domain.addresses import parse_address
from services.ingest.domain.characters import FORBIDDEN_IN_BODIES, FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.header_fields import MAX_LINE_OCTETS
from services.ingest.domain.submission import Submission

Part = Literal["subject", "text", "html"]
MAX_RENDERED_OCTETS = 512 * 1024  # of one mail: mailboxes cut off what is longer than 100 kB

_IS_UNDEFINED = re.compile(r"`([^`]{1,200})` is undefined")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The parts that a template made; text is made from html where the template has none."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """What the engine found wrong, in one part."""

    part: Part
    kind: str  # the engine's name for it
    line: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The rendering was ended: it took too much."""

    of: Literal["time", "memory", "size"]


def parts_of(version: TemplateVersion, *, without_subject: bool = False) -> dict[Part, str]:
    """The sources of a version; none for what the request gives itself."""
    subject = None if without_subject else version.subject
    given: dict[Part, str | None] = {"subject": subject, "text": version.text, "html": version.html}
    return {part: source for part, source in given.items() if source}


def mistaken(mistakes: Sequence[Mistake], prefix: str) -> Refused:
    """The 422 for these mistakes. `prefix` stands before the part's name in `field`: `template.` when mail is sent."""
    return failed([_fault_of(mistake, prefix) for mistake in mistakes])


def stopped(cause: Stopped) -> Refused:
    match cause.of:
        case "time" | "memory":
            fault = Fault("template", "too_costly", "It takes more time or memory than one mail may.")
        case "size":
            fault = Fault("template", "too_large", f"It makes more than {MAX_RENDERED_OCTETS} bytes of this data.")
    return failed([fault])


def failed(faults: Sequence[Fault]) -> Refused:
    where = ", ".join(dict.fromkeys(fault.field for fault in faults))
    return Refused("template_error", f"The template could not be rendered: see {where}.", faults=faults)


def rendered_faults(rendered: Rendered) -> list[Fault]:
    """What may not stand in a mail, although a template made it."""
    faults = []
    if rendered.subject is not None:
        if FORBIDDEN_IN_HEADERS.search(rendered.subject):
            message = "The subject that it makes is not one line without control characters."
            faults.append(Fault("template.subject", "forbidden_characters", message))
        elif len(rendered.subject.encode()) > MAX_LINE_OCTETS:
            message = f"The subject that it makes has more than {MAX_LINE_OCTETS} bytes."
            faults.append(Fault("template.subject", "too_long", message))
        elif not rendered.subject.strip():
            faults.append(Fault("template.subject", "empty", "The subject that it makes is empty."))
    for part in ("text", "html"):
        made: str | None = getattr(rendered, part)
        if made is not None and FORBIDDEN_IN_BODIES.search(made):
            message = "It makes NUL or another control character; only line breaks and tabs may stand in a body."
            faults.append(Fault(f"template.{part}", "forbidden_characters", message))
    if not (rendered.text or "").strip() and not (rendered.html or "").strip():
        faults.append(Fault("template", "empty", "The mail that it makes is empty."))
    return faults


def sendable(template: Template | None) -> tuple[Template, int]:
    """The template and the version that mail is made from. Raises Refused (422)."""
    if template is None:
        raise invalid([Fault("template", "unknown_template", "There is no such template.")])
    if template.published_version is None:
        message = "No version of this template is published: POST /v1/templates/{name}/publish."
        raise invalid([Fault("template", "not_published", message)])
    return template, template.published_version


def filled(submission: Submission, version: TemplateVersion, rendered: Rendered) -> Submission:
    """The submission with what the template made of it; what the request says itself stands. Raises Refused (422)."""
    if faults := rendered_faults(rendered):
        raise failed(faults)
    subject = submission.subject or rendered.subject
    if subject is None:
        raise invalid([Fault("subject", "required", "Neither this request nor its template has a subject.")])
    made = [rendered.text, rendered.html, "" if submission.subject else subject]
    size = submission.size + sum(len(part.encode()) for part in made if part)
    from_ = submission.from_ or (parse_address(version.from_) if version.from_ else None)
    return replace(
        submission,
        subject=subject,
        text=rendered.text,
        html=rendered.html,
        from_=from_,
        size=size,
        made_from=version.name,
    )


def template_shown(template: Template, latest: int) -> dict[str, Any]:
    """A template without its content, as lists show it."""
    return {
        "id": template.id,
        "name": template.name,
        "published_version": template.published_version,
        "latest_version": latest,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
    }


def version_shown(version: TemplateVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "subject": version.subject,
        "text": version.text,
        "html": version.html,
        "from": version.from_,
    }


def faults_shown(faults: Sequence[Fault]) -> list[Mapping[str, Any]]:
    """Faults as they stand in an answer that is no error."""
    return [
        {"field": fault.field, "code": fault.code, "message": fault.message, "line": fault.line} for fault in faults
    ]


def _fault_of(mistake: Mistake, prefix: str) -> Fault:
    field = f"{prefix}{mistake.part}"
    line = "" if mistake.line is None else f", line {mistake.line}"
    if found := _IS_UNDEFINED.search(mistake.detail):
        message = f"`{found[1]}` is missing ({field}{line})."
        return Fault("template_data", "missing_variable", message, line=mistake.line, variable=found[1])
    if mistake.kind == "UndefinedError":
        message = f"A variable is missing ({field}{line})."
        return Fault("template_data", "missing_variable", message, line=mistake.line)
    if mistake.kind == "OutOfFuel":
        return Fault(field, "too_costly", f"It takes too many steps{line}.", line=mistake.line)
    code = "syntax_error" if mistake.kind == "SyntaxError" else "rendering_failed"
    return Fault(field, code, f"{mistake.detail}{line}.", line=mistake.line)
