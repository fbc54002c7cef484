"""Cursors: where a client stands, opaque to it and checked when it comes back. Never a page number."""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from chassis.ids import parse_message_id

PARTITIONS = 1024  # more than a topic has: a message id has ten bits for its partition
_PARTITION = re.compile(r"[0-9]{1,4}")

# Of each partition, the next offset to give out; a partition that is not there starts at 0.
Positions = Mapping[tuple[str, int], int]


class BadCursor(ValueError):
    """Not a cursor of this list: made up, cut off, or of other filters."""


@dataclass(frozen=True, slots=True)
class AttemptCursor:
    """The last webhook attempt of a page: its time (Unix ms) and id."""

    at_ms: int
    attempt_id: str


def message_cursor(message_id: str, filters: str) -> str:
    """Points behind `message_id` in the list that `filters` makes (their fingerprint)."""
    return _pack([message_id, filters])


def read_message_cursor(text: str, filters: str) -> str:
    """The message id to go on behind. Raises BadCursor."""
    match _unpack(text):
        case [str(message_id), str(made_for)] if made_for == filters and parse_message_id(message_id) is not None:
            return message_id
        case _:
            raise BadCursor


def attempt_cursor(cursor: AttemptCursor, filters: str) -> str:
    return _pack([cursor.at_ms, cursor.attempt_id, filters])


def read_attempt_cursor(text: str, filters: str) -> AttemptCursor:
    """Raises BadCursor."""
    match _unpack(text):
        case [int(at_ms), str(attempt_id), str(made_for)] if made_for == filters and _is_offset(at_ms):
            return AttemptCursor(at_ms, attempt_id)
        case _:
            raise BadCursor


def feed_cursor(positions: Positions) -> str:
    by_topic: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(positions.items()):
        by_topic.setdefault(topic, {})[str(partition)] = offset
    return _pack(by_topic)


def read_feed_cursor(text: str) -> Positions:
    """Raises BadCursor."""
    by_topic = _unpack(text)
    if not isinstance(by_topic, dict):
        raise BadCursor
    positions: dict[tuple[str, int], int] = {}
    for topic, partitions in by_topic.items():
        if not isinstance(partitions, dict):
            raise BadCursor
        for partition, offset in partitions.items():
            if not (_PARTITION.fullmatch(partition) and int(partition) < PARTITIONS and _is_offset(offset)):
                raise BadCursor
            positions[topic, int(partition)] = offset
    return positions


def fingerprint(*parts: str) -> str:
    """A short hash that ties a cursor to what was asked for."""
    return hashlib.blake2s("\x1f".join(parts).encode(), digest_size=6).hexdigest()


def _is_offset(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _pack(value: object) -> str:
    return urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def _unpack(text: str) -> object:
    try:
        packed = text.encode("ascii")
        return orjson.loads(urlsafe_b64decode(packed + b"=" * (-len(packed) % 4)))
    except (UnicodeEncodeError, Base64Error, orjson.JSONDecodeError) as error:
        raise BadCursor from error
