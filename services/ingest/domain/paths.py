"""Names that routing knows: paths, pools, provider groups, domains and patterns of them; read from a request's fields."""

import re
from typing import Any, get_args

from schemas.mail import Tls
from schemas.topics import POOLS
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault
from services.ingest.domain.fields import domain_name, is_tag

DIRECT = "mx:"  # and a pool: straight to the recipient's mail exchangers
SMARTHOST = "upstream"  # the one in the environment of the senders
MAX_NAME = 100

_UPSTREAM_ID = re.compile(r"ups_[0-9A-Z]{1,40}")
_GROUP = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?")


def is_path(name: str) -> bool:
    """Whether it has the form of a path that mail can be sent over."""
    if name.startswith(DIRECT):
        return name.removeprefix(DIRECT) in POOLS
    return name == SMARTHOST or is_upstream_id(name)


def is_upstream_id(name: str) -> bool:
    return _UPSTREAM_ID.fullmatch(name) is not None


def path(name: str) -> str:
    """Raises ValueError."""
    if not is_path(name):
        pools = ", ".join(f"`{DIRECT}{pool}`" for pool in sorted(POOLS))
        raise ValueError(f"A path is {pools} (direct), an upstream's id, or `{SMARTHOST}`: the senders' own smarthost.")
    return name


def read_name(value: Any, faults: list[Fault]) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME and not FORBIDDEN_IN_HEADERS.search(value):
        return value
    code = "required" if value is None or value == "" else "invalid_value"
    faults.append(Fault("name", code, f"A name is one line of 1 to {MAX_NAME} characters."))
    return ""


def read_tls(value: Any, faults: list[Fault]) -> Tls | None:
    """Null leaves it open."""
    if value is None:
        return None
    if isinstance(value, str) and value in get_args(Tls):
        tls: Tls = value  # type: ignore[assignment]  # it is in the Literal: checked in the line above
        return tls
    message = (
        "`tls` is `opportunistic` (encrypt where it is offered) or `required` (encrypted and verified, or not at all)."
    )
    faults.append(Fault("tls", "invalid_value", message))
    return None


def read_number(value: Any, field: str, most: int, faults: list[Fault]) -> int | None:
    """From 1 to `most`; null for none."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
        return value
    faults.append(Fault(field, "invalid_value", f"It is a whole number from 1 to {most}."))
    return None


def read_rate(value: Any, field: str, most: float, faults: list[Fault]) -> float | None:
    """Mails per second, from 0.001 (one in 17 minutes) on; null for no limit."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.001 <= value <= most:
        return float(value)
    faults.append(Fault(field, "invalid_value", f"It is a number of mails per second, from 0.001 to {most:g}."))
    return None


def domain_or_below(text: str) -> str:
    """A domain, or `*.` and a domain for all that is below it. Raises ValueError."""
    if text.startswith("*."):
        return f"*.{domain_name(text[2:])}"
    return domain_name(text)


def provider_group(text: str) -> str:
    """Raises ValueError."""
    if _GROUP.fullmatch(text) is None:
        raise ValueError("A provider group is a name such as `google`, or a domain whose provider nobody knows.")
    return text


def tag(text: str) -> str:
    """Raises ValueError."""
    if not is_tag(text):
        raise ValueError("A tag is 1 to 64 letters, digits, hyphens or underscores.")
    return text
