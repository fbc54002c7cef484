"""The shapes that all answers share: a list, and JSON that goes out as it came in."""

from collections.abc import Sequence
from typing import Any

import orjson

from schemas.envelope import to_timestamp

Json = dict[str, Any]


def list_view(data: Sequence[Json | orjson.Fragment], *, has_more: bool, next_cursor: str | None) -> Json:
    return {"object": "list", "data": list(data), "has_more": has_more, "next_cursor": next_cursor}


def raw(document: str) -> orjson.Fragment:
    """JSON that goes out byte for byte."""
    return orjson.Fragment(document)


def time_or_none(ms: int) -> str | None:
    """Unix ms as a timestamp; 0 says "none"."""
    return to_timestamp(ms) if ms else None
