"""What requests say about templates: a mail that uses one, and the requests that keep them (R8)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.ingest.domain.addresses import InvalidAddress, parse_address
from services.ingest.domain.characters import FORBIDDEN_IN_BODIES, FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names

# The sources of one version together: what a mail of the largest size needs, and its statements.
MAX_SOURCE_OCTETS = 512 * 1024
MAX_SUBJECT_OCTETS = 4096  # the source; what comes of it has 998
MAX_DATA_OCTETS = 64 * 1024
MAX_DATA_DEPTH = 16

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID_PREFIX = "tpl_"
_CONTENT = frozenset({"subject", "text", "html", "from"})
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A mail's `template` and `template_data`."""

    template: str  # name or id
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """The sources of one version."""

    subject: str | None
    text: str | None
    html: str | None
    from_: str | None


@dataclass(frozen=True, slots=True)
class NewTemplate:
    name: str
    content: TemplateContent
    publish: bool


@dataclass(frozen=True, slots=True)
class NewVersion:
    content: TemplateContent
    publish: bool


@dataclass(frozen=True, slots=True)
class Preview:
    data: dict[str, Any]
    version: int | None


def read_use(body: Mapping[str, Any], faults: list[Fault]) -> TemplateUse | None:
    """The members `template` and `template_data` of a mail."""
    template = body.get("template")
    data = _data(body, faults)
    if template is None:
        if body.get("template_data") is not None:
            faults.append(Fault("template_data", "conflict", "`template_data` needs a `template`."))
        return None
    faults += [
        Fault(field, "conflict", "The template makes text and html: leave this field out.")
        for field in ("text", "html")
        if body.get(field) is not None
    ]
    if not isinstance(template, str) or not _NAME.fullmatch(template):
        faults.append(Fault("template", "invalid_value", "`template` is the name of a template, or its id."))
        return None
    return TemplateUse(template, data)


def read_new_template(body: Mapping[str, Any]) -> NewTemplate:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, _CONTENT | {"name", "publish"}, _NOTHING)
    name = body.get("name")
    if name is None:
        faults.append(Fault("name", "required", "Give the template a name."))
    elif not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith(_ID_PREFIX):
        message = f"A name is 1 to 64 letters, digits, `.`, `_` or `-`, and does not begin with `{_ID_PREFIX}`."
        faults.append(Fault("name", "invalid_value", message))
    content = _content(body, faults)
    publish = _flag(body, "publish", faults, default=True)
    if faults:
        raise invalid(faults)
    return NewTemplate(str(name), content, publish)


def read_new_version(body: Mapping[str, Any], name: str) -> NewVersion:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, _CONTENT | {"name", "publish"}, _NOTHING)
    if body.get("name") not in {None, name}:
        faults.append(Fault("name", "conflict", "A template keeps its name: create another."))
    content = _content(body, faults)
    publish = _flag(body, "publish", faults, default=False)
    if faults:
        raise invalid(faults)
    return NewVersion(content, publish)


def read_version_number(body: Mapping[str, Any]) -> int | None:
    """The body of a publication: `version`, or null for the latest. Raises Refused (422)."""
    faults = faults_of_names(body, frozenset({"version"}), _NOTHING)
    version = _version(body, faults)
    if faults:
        raise invalid(faults)
    return version


def read_preview(body: Mapping[str, Any]) -> Preview:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, frozenset({"template_data", "version"}), _NOTHING)
    data, version = _data(body, faults), _version(body, faults)
    if faults:
        raise invalid(faults)
    return Preview(data, version)


def read_to_validate(body: Mapping[str, Any]) -> TemplateContent | int | None:
    """Content that is given, or the number of a stored version, or None for the latest. Raises Refused (422)."""
    faults = faults_of_names(body, _CONTENT | {"version"}, _NOTHING)
    given = [field for field in sorted(_CONTENT) if body.get(field) is not None]
    version = _version(body, faults)
    if given and version is not None:
        faults.append(Fault("version", "conflict", "Give content or a version, not both."))
    content = _content(body, faults) if given else None
    if faults:
        raise invalid(faults)
    return content if content is not None else version


def _content(body: Mapping[str, Any], faults: list[Fault]) -> TemplateContent:
    subject, text, html = (_source(body, field, faults) for field in ("subject", "text", "html"))
    if subject is not None:
        if FORBIDDEN_IN_HEADERS.search(subject):
            faults.append(Fault("subject", "forbidden_characters", "A subject is one line without control characters."))
        elif len(subject.encode()) > MAX_SUBJECT_OCTETS:
            faults.append(Fault("subject", "too_long", f"A subject's source has at most {MAX_SUBJECT_OCTETS} bytes."))
    if not text and not html and not any(fault.field in {"text", "html"} for fault in faults):
        faults.append(Fault("text", "required", "Give `text`, `html` or both."))
    if sum(len(part.encode()) for part in (subject, text, html) if part) > MAX_SOURCE_OCTETS:
        faults.append(Fault("html", "too_large", f"A version has at most {MAX_SOURCE_OCTETS} bytes."))
    return TemplateContent(subject, text, html, _from(body, faults))


def _source(body: Mapping[str, Any], field: str, faults: list[Fault]) -> str | None:
    value = body.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        faults.append(Fault(field, "invalid_type", f"`{field}` is a string."))
    elif FORBIDDEN_IN_BODIES.search(value):
        message = "It holds NUL or another control character; only line breaks and tabs may stand in a template."
        faults.append(Fault(field, "forbidden_characters", message))
    else:
        return value
    return None


def _from(body: Mapping[str, Any], faults: list[Fault]) -> str | None:
    """The sender in header form; whether the project may use it is judged when mail is sent."""
    value = body.get("from")
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


def _flag(body: Mapping[str, Any], field: str, faults: list[Fault], *, default: bool) -> bool:
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        faults.append(Fault(field, "invalid_type", f"`{field}` is true or false."))
        return default
    return value


def _version(body: Mapping[str, Any], faults: list[Fault]) -> int | None:
    value = body.get("version")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        faults.append(Fault("version", "invalid_value", "A version is a number from 1 on."))
        return None
    return value


def _data(body: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    value = body.get("template_data")
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(Fault("template_data", "invalid_type", "`template_data` is an object."))
        return {}
    try:
        size = len(orjson.dumps(value))
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        size, deep = 0, True
    else:
        deep = _depth_exceeds(value, MAX_DATA_DEPTH)
    if deep:
        message = f"`template_data` nests at most {MAX_DATA_DEPTH} levels."
        faults.append(Fault("template_data", "too_deep", message))
        return {}
    if size > MAX_DATA_OCTETS:
        faults.append(Fault("template_data", "too_large", f"`template_data` has at most {MAX_DATA_OCTETS} bytes."))
        return {}
    return {name: _without_nulls(item) for name, item in value.items() if item is not None}


def _depth_exceeds(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(_depth_exceeds(item, levels - 1) for item in (value.values() if isinstance(value, dict) else value))


def _without_nulls(value: Any) -> Any:
    """A null member is a missing one: no mail says `None`."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value
