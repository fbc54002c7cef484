"""Pages of a list, newest first: `limit`, and an opaque cursor `after` the last entry of the page before (keyset)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass

from services.ingest.domain.faults import Fault, invalid

DEFAULT_LIMIT = 25
MAX_LIMIT = 100

Position = tuple[str, str]  # created_at, key of the table: total order, newest last


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int
    after: Position | None


def read_page(query: Mapping[str, str]) -> PageRequest:
    """Raises Refused (422)."""
    faults: list[Fault] = []
    limit = DEFAULT_LIMIT
    text = query.get("limit")
    if text is not None:
        if text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MAX_LIMIT:
            limit = int(text)
        else:
            faults.append(Fault("limit", "invalid_value", f"`limit` is a number from 1 to {MAX_LIMIT}."))
    after = None
    if (cursor := query.get("after")) is not None:
        after = _position_of(cursor)
        if after is None:
            faults.append(Fault("after", "invalid_cursor", "Give the `next_cursor` of an earlier page, unchanged."))
    if faults:
        raise invalid(faults)
    return PageRequest(limit, after)


def cursor_of(position: Position) -> str:
    return urlsafe_b64encode("\n".join(position).encode()).decode().rstrip("=")


def _position_of(cursor: str) -> Position | None:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (Base64Error, ValueError):
        return None
    created_at, separator, key = text.partition("\n")
    return (created_at, key) if separator else None
