"""Query parameters, read one by one: values in, a typed question or all their faults out.

An unknown parameter is a fault, never ignored: a filter with a typing error would else show everything.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from schemas.envelope import to_ms
from services.analytics.domain.cursors import BadCursor

DEFAULT_LIMIT, MAX_LIMIT = 25, 100
MAX_CHARACTERS = 1000  # of one filter's value: longer than any address, subject or tag
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


class Wrong(Exception):
    """What a reader raises for a value that is not right."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Reader:
    """Takes parameters one by one and collects what is wrong with them; what nobody took is unknown."""

    def __init__(self, parameters: Parameters) -> None:
        self._given: dict[str, str] = {}
        self.faults: list[Fault] = []
        for name, value in parameters:
            if name in self._given:
                self.faults.append(Fault(name, "repeated", "Give this parameter once."))
            self._given[name] = value

    def take(self, name: str, read: Callable[[str], T]) -> T | None:
        """`read` answers the value, or raises Wrong."""
        text = self._given.pop(name, None)
        if text is None:
            return None
        try:
            return read(text)
        except Wrong as wrong:
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

    def limit(self) -> int:
        return self.take("limit", _limit) or DEFAULT_LIMIT

    def after(self, read: Callable[[str], T]) -> T | None:
        """The cursor to go on behind; `read` raises BadCursor."""
        return self.take("after", _cursor(read))


def no_parameters(parameters: Parameters) -> None:
    """Of a single object. Raises InvalidQuery."""
    Reader(parameters).finish()


def text_value(text: str) -> str:
    if not text:
        raise Wrong("empty", "Give a value, or leave the parameter out.")
    if len(text) > MAX_CHARACTERS:
        raise Wrong("too_long", f"At most {MAX_CHARACTERS} characters.")
    return text


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise Wrong("invalid_value", f"One of {', '.join(known)}.")
        return text

    return read


def time_value(text: str) -> int:
    try:
        return min(max(to_ms(_UNESCAPED_OFFSET.sub(r"+\1", text)), 0), _LATEST_MS)
    except (ValueError, OverflowError) as error:
        message = "An RFC 3339 time with its offset, such as 2026-01-31T08:00:00Z."
        raise Wrong("invalid_time", message) from error


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise Wrong("invalid_value", f"A whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def _cursor(read: Callable[[str], T]) -> Callable[[str], T]:
    def checked(text: str) -> T:
        try:
            return read(text)
        except BadCursor as error:
            message = "Not a cursor of this list: use `next_cursor` as it is, with the same filters."
            raise Wrong("invalid_cursor", message) from error

    return checked
