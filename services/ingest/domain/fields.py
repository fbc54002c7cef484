"""Fields that several requests share: names that are known, unknown or not built yet, lists of names, domains, tags."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from services.ingest.domain.addresses import InvalidAddress, parse_domain
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault

MAX_TAGS = 20
MAX_ENTRIES = 100  # of a list whose field names no other limit
MAX_UNKNOWN = 100
MAX_SHOWN_CHARACTERS = 80  # of a caller's own name for something, in an answer

_TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")


def faults_of_names(body: Mapping[str, Any], known: frozenset[str], unsupported: frozenset[str]) -> list[Fault]:
    """A fault for each member of `body` that is not `known`, or not built yet (unless it is null); some, of very many."""
    faults: list[Fault] = []
    for name, value in body.items():
        if name in known:
            continue
        if len(faults) == MAX_UNKNOWN:  # a body may have a hundred thousand
            break
        if name not in unsupported:
            faults.append(Fault(shown(name), "unknown_field", "There is no such field."))
        elif value is not None:
            faults.append(Fault(name, "unsupported_field", "This field is not supported yet; it is never ignored."))
    return faults


def shown(name: str) -> str:
    """A caller's name for something as it may stand in an answer: no control characters, not endless."""
    return FORBIDDEN_IN_HEADERS.sub("\N{REPLACEMENT CHARACTER}", name[:MAX_SHOWN_CHARACTERS])


def read_list(
    value: Any, field: str, read: Callable[[str], str], faults: list[Fault], limit: int = MAX_ENTRIES
) -> tuple[str, ...]:
    """A list of names, or null for none. `read` raises ValueError, whose message is the fault's."""
    if value is None:
        return ()
    if not isinstance(value, list):
        faults.append(Fault(field, "invalid_type", f"`{field}` is a list of strings."))
        return ()
    if len(value) > limit:
        faults.append(Fault(field, "too_many", f"There may be {limit} entries."))
        return ()
    found = []
    for index, item in enumerate(value):
        try:
            found.append(read(item if isinstance(item, str) else ""))
        except ValueError as error:
            faults.append(Fault(f"{field}[{index}]", "invalid_value", str(error)))
    return tuple(dict.fromkeys(found))


def domain_name(text: str) -> str:
    """As an A-label in lower case. Raises ValueError."""
    try:
        return parse_domain(text)
    except InvalidAddress:
        raise ValueError("A domain is written as in an address: `example.com`.") from None


def read_tags(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    """A list of tags, or null for none; what is wrong with it is added to `faults`."""
    if value is None:
        return ()
    if not isinstance(value, list):
        faults.append(Fault("tags", "invalid_type", "`tags` is a list of strings."))
        return ()
    if len(value) > MAX_TAGS:
        faults.append(Fault("tags", "too_many", f"There may be {MAX_TAGS} tags."))
        return ()
    for index, tag in enumerate(value):
        if not is_tag(tag):
            message = "A tag is 1 to 64 letters, digits, hyphens or underscores."
            faults.append(Fault(f"tags[{index}]", "invalid_tag", message))
    return tuple(dict.fromkeys(tag for tag in value if isinstance(tag, str)))


def is_tag(value: object) -> bool:
    return isinstance(value, str) and _TAG.fullmatch(value) is not None
