"""What a client may ask of a list: query parameters in, a typed question or all their faults out.

An unknown parameter is a fault, never ignored: a filter with a typing error would else show everything.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, get_args

from schemas.envelope import to_ms
from schemas.events import ACCOUNT_EVENTS, MESSAGE_EVENTS
from schemas.mail import Status
from services.analytics.domain.cursors import (
    AttemptCursor,
    BadCursor,
    Positions,
    fingerprint,
    read_attempt_cursor,
    read_feed_cursor,
    read_message_cursor,
)
from services.analytics.domain.rows import address_of

DEFAULT_LIMIT, MAX_LIMIT = 25, 100
MAX_CHARACTERS = 1000  # of one filter's value: longer than any address, subject or tag
MAX_METADATA_FILTERS = 10
EVENT_TYPES = frozenset(MESSAGE_EVENTS) | frozenset(ACCOUNT_EVENTS)
_STATUSES: tuple[str, ...] = get_args(Status)
_METADATA = re.compile(r"metadata\[(.+)\]", re.DOTALL)
# In a query string `+` means a space: an offset that was not escaped is still meant as one.
_UNESCAPED_OFFSET = re.compile(r" (\d\d:?\d\d)$")
_LATEST_MS = 2**48 - 1  # what a message id can hold

Parameters = Sequence[tuple[str, str]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """One parameter at fault."""

    field: str
    code: str
    message: str


class InvalidQuery(Exception):
    """The parameters can not be understood; all faults at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(", ".join(fault.field for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class MessageFilters:
    """Which messages: every one that is set must hold. Addresses and domains are compared in lower case."""

    status: str | None = None
    recipient: str | None = None
    recipient_domain: str | None = None
    sender: str | None = None
    subject: str | None = None
    tag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    since_ms: int | None = None  # created at or after
    until_ms: int | None = None  # created before

    @property
    def fingerprint(self) -> str:
        pairs = [part for pair in sorted(self.metadata.items()) for part in pair]
        rest = (self.status, self.recipient, self.recipient_domain, self.sender, self.subject, self.tag)
        return fingerprint(*(repr(value) for value in (*rest, self.since_ms, self.until_ms)), *pairs)


@dataclass(frozen=True, slots=True)
class MessagesQuery:
    filters: MessageFilters
    limit: int
    after: str | None  # a message id


@dataclass(frozen=True, slots=True)
class EventsQuery:
    types: frozenset[str]  # empty: all
    limit: int
    start: Positions


@dataclass(frozen=True, slots=True)
class AttemptsQuery:
    limit: int
    after: AttemptCursor | None


@dataclass(frozen=True, slots=True)
class SandboxQuery:
    recipient: str | None
    limit: int
    after: str | None  # a message id


class _Reader:
    """Takes parameters one by one and collects what is wrong with them; what nobody took is unknown."""

    def __init__(self, parameters: Parameters) -> None:
        self._given: dict[str, str] = {}
        self.faults: list[Fault] = []
        for name, value in parameters:
            if name in self._given:
                self.faults.append(Fault(name, "repeated", "Give this parameter once."))
            self._given[name] = value

    def take(self, name: str, read: Callable[[str], T]) -> T | None:
        """`read` answers the value, or raises _Wrong."""
        text = self._given.pop(name, None)
        if text is None:
            return None
        try:
            return read(text)
        except _Wrong as wrong:
            self.faults.append(Fault(name, wrong.code, wrong.message))
            return None

    def names(self) -> list[str]:
        return list(self._given)

    def finish(self) -> None:
        """Raises InvalidQuery where anything was wrong."""
        for name in self._given:
            self.faults.append(Fault(name, "unsupported_field", "There is no such parameter here."))
        if self.faults:
            raise InvalidQuery(self.faults)


class _Wrong(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def messages_query(parameters: Parameters) -> MessagesQuery:
    """`GET /v1/messages`. Raises InvalidQuery."""
    reader = _Reader(parameters)
    filters = MessageFilters(
        status=reader.take("status", _one_of(_STATUSES)),
        recipient=reader.take("recipient", lambda text: address_of(_text(text))),
        recipient_domain=reader.take("recipient_domain", lambda text: _text(text).lower()),
        sender=reader.take("from", lambda text: address_of(_text(text))),
        subject=reader.take("subject", _text),
        tag=reader.take("tag", _text),
        metadata=_metadata(reader),
        since_ms=reader.take("since", _time),
        until_ms=reader.take("until", _time),
    )
    limit = reader.take("limit", _limit)
    after = reader.take("after", _cursor(lambda text: read_message_cursor(text, filters.fingerprint)))
    reader.finish()
    return MessagesQuery(filters, limit or DEFAULT_LIMIT, after)


def events_query(parameters: Parameters) -> EventsQuery:
    """`GET /v1/events`. Raises InvalidQuery."""
    reader = _Reader(parameters)
    types = reader.take("types", _types)
    limit = reader.take("limit", _limit)
    after = reader.take("after", _cursor(read_feed_cursor))
    reader.finish()
    return EventsQuery(types or frozenset(), limit or DEFAULT_LIMIT, after or {})


def attempts_query(parameters: Parameters, endpoint_id: str) -> AttemptsQuery:
    """`GET /v1/webhooks/{id}/attempts`. Raises InvalidQuery."""
    reader = _Reader(parameters)
    limit = reader.take("limit", _limit)
    after = reader.take("after", _cursor(lambda text: read_attempt_cursor(text, endpoint_id)))
    reader.finish()
    return AttemptsQuery(limit or DEFAULT_LIMIT, after)


def sandbox_query(parameters: Parameters) -> SandboxQuery:
    """`GET /v1/sandbox/messages`. Raises InvalidQuery."""
    reader = _Reader(parameters)
    recipient = reader.take("recipient", lambda text: address_of(_text(text)))
    limit = reader.take("limit", _limit)
    after = reader.take("after", _cursor(lambda text: read_message_cursor(text, fingerprint(repr(recipient)))))
    reader.finish()
    return SandboxQuery(recipient, limit or DEFAULT_LIMIT, after)


def no_parameters(parameters: Parameters) -> None:
    """Of a single object. Raises InvalidQuery."""
    _Reader(parameters).finish()


def _metadata(reader: _Reader) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name in reader.names():
        if (match := _METADATA.fullmatch(name)) and (value := reader.take(name, _text)) is not None:
            found[match[1]] = value
    if len(found) > MAX_METADATA_FILTERS:
        reader.faults.append(Fault("metadata", "too_many", f"At most {MAX_METADATA_FILTERS} at once."))
    return found


def _text(text: str) -> str:
    if not text:
        raise _Wrong("empty", "Give a value, or leave the parameter out.")
    if len(text) > MAX_CHARACTERS:
        raise _Wrong("too_long", f"At most {MAX_CHARACTERS} characters.")
    return text


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise _Wrong("invalid_value", f"One of {', '.join(known)}.")
        return text

    return read


def _types(text: str) -> frozenset[str]:
    types = frozenset(part.strip() for part in text.split(","))
    if not types <= EVENT_TYPES:
        raise _Wrong("invalid_value", f"A comma list of {', '.join(sorted(EVENT_TYPES))}.")
    return types


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise _Wrong("invalid_value", f"A whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def _time(text: str) -> int:
    try:
        return min(max(to_ms(_UNESCAPED_OFFSET.sub(r"+\1", text)), 0), _LATEST_MS)
    except (ValueError, OverflowError) as error:
        message = "An RFC 3339 time with its offset, such as 2026-01-31T08:00:00Z."
        raise _Wrong("invalid_time", message) from error


def _cursor(read: Callable[[str], T]) -> Callable[[str], T]:
    def checked(text: str) -> T:
        try:
            return read(text)
        except BadCursor as error:
            message = "Not a cursor of this list: use `next_cursor` as it is, with the same filters."
            raise _Wrong("invalid_cursor", message) from error

    return checked
