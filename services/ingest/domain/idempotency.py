"""Idempotency keys (R3): where a request carries one, what makes two requests the same.

A key is compared as it was sent: `"abc"` with quotes is another key than `abc`. Its scope is the project.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.ingest.domain.faults import Fault, Refused

BODY_HEADER = "X-Idempotency-Key"
MAX_CHARACTERS = 256

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeyedBody:
    """The body without its idempotency key, and the key of the request: from the HTTP header or from the body."""

    body: Json
    key: str | None
    faults: tuple[Fault, ...] = ()
    octets: int = 0  # of the request's body as it came


def read_key(header_values: Sequence[str], body: Json) -> KeyedBody:
    """Take the key out of the request. Raises Refused (400) for an HTTP header that is no key."""
    from_header = _header_key(header_values)
    headers = body.get("headers")
    if not isinstance(headers, dict):
        return KeyedBody(body, from_header)
    names = [name for name in headers if name.lower() == BODY_HEADER.lower()]
    if not names:
        return KeyedBody(body, from_header)
    others = {name: value for name, value in headers.items() if name not in names}
    rest = {name: value for name, value in body.items() if name != "headers"}
    if others:
        rest["headers"] = others
    fault = _body_fault(headers, names, from_header)
    if fault is not None:
        return KeyedBody(rest, None, (Fault(f"headers.{BODY_HEADER}", *fault),))
    return KeyedBody(rest, headers[names[0]])


def _header_key(values: Sequence[str]) -> str | None:
    if not values:
        return None
    if len(values) > 1:
        raise Refused("invalid_idempotency_key", "The Idempotency-Key header is given more than once.")
    if not _well_formed(values[0]):
        message = f"An Idempotency-Key has 1 to {MAX_CHARACTERS} printable characters."
        raise Refused("invalid_idempotency_key", message)
    return values[0]


def _body_fault(headers: Json, names: Sequence[str], from_header: str | None) -> tuple[str, str] | None:
    value = headers[names[0]]
    if len(names) > 1:
        return "duplicate", "The idempotency key is given more than once."
    if not isinstance(value, str) or not _well_formed(value):
        return "invalid_idempotency_key", f"An idempotency key has 1 to {MAX_CHARACTERS} printable characters."
    if from_header is not None and from_header != value:
        return "idempotency_key_mismatch", "It differs from the Idempotency-Key header of the request."
    return None


def _well_formed(key: str) -> bool:
    return 0 < len(key) <= MAX_CHARACTERS and key.isprintable()


def fingerprint(method: str, path: str, body: Json) -> str:
    """SHA-256 of what was asked: order of members, spacing and escapes in the JSON do not count, the key neither."""
    try:
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:  # it reads deeper than it writes
        raise Refused("invalid_json", "The JSON is nested too deeply.") from error
    return hashlib.sha256(b"\x00".join((method.encode(), path.encode(), canonical))).hexdigest()
