"""Ids: sortable, prefixed, and for messages self-certifying. The only place where randomness enters.

A message id says when it was made, which lane and partition it lives in, and proves by a truncated HMAC that this
installation made it for this project: another project's key gets 404 without a look-up.

    48 bit time (ms) | 1 lane | 1 scheduled | 4 key version | 10 partition | 48 random | 48 HMAC  = 160 bit, 32 characters
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from secrets import randbits
from typing import TypeVar

from schemas.mail import Lane

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no I, L, O, U
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]  # two digits at a time: this is a hot path
_TO_PYTHON = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # the digits that `int` knows
_DIGITS_ONLY = re.compile(f"[{_ALPHABET}]*")
_LANES: tuple[Lane, Lane] = ("express", "standard")
_MESSAGE_CHARACTERS, _MESSAGE_OCTETS = 32, 20
_EVENT_CHARACTERS = 31
# Widths in bits, from the right: the HMAC, then the chance, the partition, the key version; lane and scheduled are 1 each.
_MAC, _RANDOM, _PARTITION, _VERSION = 48, 48, 10, 4

RandomBits = Callable[[int], int]
T = TypeVar("T")


def encode_base32(number: int, characters: int) -> str:
    """`number` as that many Crockford digits: sorts as the number does."""
    even = characters + (characters & 1)
    digits = "".join([_PAIRS[(number >> shift) & 1023] for shift in range(5 * (even - 2), -1, -10)])
    return digits[even - characters :]


def new_id(prefix: str, now_ms: int, random_bits: RandomBits = randbits) -> str:
    """`prefix_` and 26 digits: 48 bits of time, 82 of chance."""
    return f"{prefix}_{encode_base32((now_ms << 82) | random_bits(82), 26)}"


def shuffled(items: Sequence[T], random_bits: RandomBits = randbits) -> list[T]:
    """The same in an order by chance."""
    return sorted(items, key=lambda _: random_bits(32))


def derived_id(prefix: str, *parts: str) -> str:
    """An id that is a function of `parts`: whoever computes it again gets the same."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"{prefix}_{encode_base32(int.from_bytes(digest[:17]) >> 6, 26)}"


def event_id(message_id: str, sequence: int) -> str:
    """The id of a message's n-th event: sorts by the message's time, then by `sequence`, and can hold one content only."""
    body = message_id.removeprefix("msg_")
    digest = hashlib.sha256(f"{message_id}#{sequence}".encode()).digest()
    tail = int.from_bytes(digest[:11]) & ((1 << 85) - 1)
    return f"evt_{body[:10]}{encode_base32(sequence & 0xFFFFF, 4)}{encode_base32(tail, 17)}"


def message_time_of(event: str) -> int | None:
    """When the message of a message's event was made (Unix ms): no event of it is older. None for any other id."""
    digits = event.removeprefix("evt_")
    if len(digits) != _EVENT_CHARACTERS or len(digits) == len(event) or not _DIGITS_ONLY.fullmatch(digits):
        return None
    return int(digits[:10].translate(_TO_PYTHON), 32) >> 2


@dataclass(frozen=True, slots=True)
class MessageId:
    """What stands in a message id."""

    text: str
    created_at_ms: int
    lane: Lane
    scheduled: bool
    partition: int


@dataclass(frozen=True, slots=True)
class MessageIds:
    """Makes and checks message ids under versioned secrets (16 to 64 bytes each); `current` signs new ones."""

    secrets: Mapping[int, bytes]
    current: int
    random_bits: RandomBits = randbits

    def new(self, *, project_id: str, now_ms: int, lane: Lane, partition: int, scheduled: bool = False) -> MessageId:
        head = (now_ms << 2) | (_LANES.index(lane) << 1) | scheduled
        body = (((head << _VERSION | self.current) << _PARTITION | partition) << _RANDOM) | self.random_bits(_RANDOM)
        number = (body << _MAC) | self._mac(self.current, body, project_id)
        return MessageId(f"msg_{encode_base32(number, _MESSAGE_CHARACTERS)}", now_ms, lane, scheduled, partition)

    def verify(self, text: str, project_id: str) -> MessageId | None:
        """The id's parts, or None where it was not made here for this project."""
        number = _number_of(text)
        if number is None:
            return None
        body, mac = number >> _MAC, number & ((1 << _MAC) - 1)
        version = (body >> (_RANDOM + _PARTITION)) & ((1 << _VERSION) - 1)
        if version not in self.secrets:
            return None
        same = hmac.compare_digest(mac.to_bytes(6), self._mac(version, body, project_id).to_bytes(6))
        return parse_message_id(text) if same else None

    def _mac(self, version: int, body: int, project_id: str) -> int:
        digest = hmac.digest(self.secrets[version], body.to_bytes(14) + project_id.encode(), "sha256")
        return int.from_bytes(digest[: _MAC // 8])


def parse_message_id(text: str) -> MessageId | None:
    """The parts of a well-formed message id, unproven: for internal records, never for a client's word."""
    number = _number_of(text)
    if number is None:
        return None
    partition = (number >> (_MAC + _RANDOM)) & ((1 << _PARTITION) - 1)
    head = number >> (_MAC + _RANDOM + _PARTITION + _VERSION)
    return MessageId(text, head >> 2, _LANES[(head >> 1) & 1], bool(head & 1), partition)


def message_octets(text: str) -> bytes | None:
    """A well-formed message id as its 20 octets."""
    number = _number_of(text)
    return None if number is None else number.to_bytes(_MESSAGE_OCTETS)


def message_id_of(octets: bytes) -> str:
    """The inverse of `message_octets`."""
    return f"msg_{encode_base32(int.from_bytes(octets), _MESSAGE_CHARACTERS)}"


def _number_of(text: str) -> int | None:
    digits = text.removeprefix("msg_")
    if len(digits) != _MESSAGE_CHARACTERS or len(digits) == len(text) or not _DIGITS_ONLY.fullmatch(digits):
        return None
    return int(digits.translate(_TO_PYTHON), 32)
