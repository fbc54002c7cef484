"""What the core and the two transports hand each other: a request, its answer or the lack of one, and how a list goes on.

Values only. This module must never open a connection, wait, or know httpx.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

T = TypeVar("T")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `repeatable`: whether doing it twice comes to the same as doing it once."""

    method: Method
    path: str
    query: Query = ()
    body: bytes | None = None
    idempotency_key: str | None = None
    repeatable: bool = True

    def asking(self, name: str, value: str) -> "Request":
        """The same request with one query parameter set anew."""
        return replace(self, query=(*(pair for pair in self.query if pair[0] != name), (name, value)))


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body. Raises ValueError where it is no JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer came. `sent`: whether the request may have reached the server nevertheless."""

    reason: str
    sent: bool


Outcome = Answer | NoAnswer


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request whose answer is a T."""

    request: Request


class Page(TypedDict, Generic[T]):
    """A list as the API gives it out."""

    object: Literal["list"]
    data: list[T]
    has_more: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list of T, page after page. With `poll_seconds` it has no end: after the last page it waits for what comes."""

    request: Request
    poll_seconds: float | None = None

    @property
    def call(self) -> Call[Page[T]]:
        return Call(self.request)


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """What a page amounts to: entries to hand out, then a pause, then the rest of the list, if any."""

    entries: Sequence[T]
    pause: float
    then: Listing[T] | None


def turn(listing: Listing[T], page: Page[T]) -> Turn[T]:
    """How `listing` goes on after `page`."""
    cursor = page["next_cursor"]
    request = listing.request if cursor is None else listing.request.asking("after", cursor)
    entries = page["data"]
    if page["has_more"]:
        return Turn(entries, 0.0, replace(listing, request=request))
    if listing.poll_seconds is None:
        return Turn(entries, 0.0, None)
    return Turn(entries, listing.poll_seconds, replace(listing, request=request))


def path_of(*parts: str) -> str:
    """`/v1/` and the parts, escaped. Raises ValueError for a part that would name another resource."""
    for part in parts:
        if part in {"", ".", ".."}:
            raise ValueError(f"{part!r} is no id, name or address.")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def query_of(parameters: Mapping[str, object]) -> Query:
    """Query parameters: None is left out, a list is joined by commas, times and booleans are written as the API reads them."""
    return tuple((name, _text(value)) for name, value in parameters.items() if value is not None)


def body_of(value: Mapping[str, Any]) -> bytes:
    """JSON, made once: each retry sends the same bytes. Raises ValueError for what JSON can not say."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=time_of).encode()


def time_of(moment: object) -> str:
    """A time as the API wants it. Raises ValueError for one without its offset: it would mean another moment elsewhere."""
    if not isinstance(moment, datetime):
        raise TypeError(f"A value of type {type(moment).__name__} can not be sent as JSON.")
    if moment.tzinfo is None:
        raise ValueError(f"The time {moment.isoformat()} has no offset; use datetime.now(UTC) or .astimezone().")
    return moment.isoformat()


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return time_of(value)
        case list() | tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)
