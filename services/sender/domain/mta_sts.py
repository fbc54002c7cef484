"""What a domain asks of those who send it mail: MTA-STS records and policies (RFC 8461).

Pure. A policy that can not be read is none; it must never make mail stricter, or laxer, by a guess.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

Mode = Literal["enforce", "testing", "none"]
LONGEST_AGE = 31_557_600  # seconds: a year
MOST_BYTES = 64 * 1024  # of a policy
_MOST_PATTERNS = 1000

_ID = re.compile(r"v=STSv1\s*;(?:.*;)?\s*id\s*=\s*([A-Za-z0-9]{1,32})\s*(?:;.*)?")


class MalformedPolicy(ValueError):
    """It says why."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """`mx`: host names, or `*.` and a name for exactly one label before it."""

    mode: Mode
    max_age: int  # seconds
    mx: tuple[str, ...] = ()

    def admits(self, host: str) -> bool:
        name = host.rstrip(".").lower()
        return name in self.mx or f"*.{name.partition('.')[2]}" in self.mx


def id_of(texts: Sequence[str]) -> str | None:
    """Of the TXT record at `_mta-sts.<domain>`; where there are several that claim to be it, there is none."""
    claims = [text for text in texts if re.match(r"v=STSv1\s*(;|$)", text)]
    if len(claims) != 1:
        return None
    found = _ID.fullmatch(claims[0].strip())
    return None if found is None else found[1]


def policy_of(text: str) -> StsPolicy:
    """Raises MalformedPolicy. Of a field that stands twice the first counts; fields that nobody knows are passed over."""
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in text.splitlines():
        name, colon, value = (part.strip() for part in line.partition(":"))
        if colon and name == "mx":
            patterns.append(value.rstrip(".").lower())
        elif colon:
            fields.setdefault(name, value)
    if fields.get("version") != "STSv1":
        raise MalformedPolicy("its version is not STSv1")
    mode, age = fields.get("mode"), fields.get("max_age", "")
    if mode not in get_args(Mode):
        raise MalformedPolicy("its mode is none that is known")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise MalformedPolicy("its max_age is no number")
    if not patterns and mode != "none":
        raise MalformedPolicy("it names no mx")
    return StsPolicy(cast("Mode", mode), min(int(age), LONGEST_AGE), tuple(patterns[:_MOST_PATTERNS]))
