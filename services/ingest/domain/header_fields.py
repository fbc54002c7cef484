"""A customer's own header fields: names by the grammar of RFC 5322, values on one line, none that the platform owns."""

import re
from collections.abc import Mapping

from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault
from services.ingest.domain.fields import shown

MAX_FIELDS = 50
MAX_LINE_OCTETS = 998  # RFC 5322 2.1.1: also the limit of a subject

_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")  # ftext: printable ASCII without the colon
# Written by the platform from its own fields, by the servers on the way, or by DKIM: a second one would be a forgery.
_OWNED = frozenset(
    [
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "return-path",
        "received",
        "received-spf",
        "dkim-signature",
        "sender",
        "delivered-to",
        "authentication-results",
    ]
)
_OWNED_PREFIXES = ("content-", "resent-", "arc-", "x-sendarix-")
_FIELD_FOR = {"from": "from", "to": "recipient", "cc": "cc", "bcc": "bcc", "subject": "subject"}


def header_faults(headers: Mapping[str, object], *, reply_to_given: bool) -> list[Fault]:
    """Everything wrong with the `headers` of a request."""
    faults: list[Fault] = []
    if len(headers) > MAX_FIELDS:
        return [Fault("headers", "too_many", f"There may be {MAX_FIELDS} header fields.")]
    seen: set[str] = set()
    for name, value in headers.items():
        if (fault := _fault_of(name, value, seen, reply_to_given=reply_to_given)) is not None:
            faults.append(fault)
        seen.add(name.lower())
    return faults


def _fault_of(name: str, value: object, seen: set[str], *, reply_to_given: bool) -> Fault | None:
    lower = name.lower()
    if not _FIELD_NAME.fullmatch(name):
        fault = ("invalid_header_name", "A header name is 1 to 76 printable ASCII characters without a colon.")
    elif lower in seen:
        fault = ("duplicate", "This header is given twice (case does not count).")
    elif lower in _OWNED or lower.startswith(_OWNED_PREFIXES) or (lower == "reply-to" and reply_to_given):
        instead = f"; use the field `{_FIELD_FOR[lower]}`" if lower in _FIELD_FOR else ""
        fault = ("reserved_header", f"The platform writes this header itself{instead}.")
    elif not isinstance(value, str):
        fault = ("invalid_type", "A header value is a string.")
    elif FORBIDDEN_IN_HEADERS.search(value):
        fault = ("forbidden_characters", "A header value holds no control characters or line breaks.")
    elif len(name) + 2 + len(value.encode()) > MAX_LINE_OCTETS:
        fault = ("too_long", f"Name and value have at most {MAX_LINE_OCTETS - 2} bytes.")
    else:
        return None
    return Fault(f"headers.{shown(name)}", *fault)
