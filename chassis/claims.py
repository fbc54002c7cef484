"""Claim by log: append, read back, the first live claim of a key in log order wins. Nothing is locked.

Serves idempotency keys and delivery attempts. It must never decide from the index alone that a key is free: only the
own claim, read back, tells who won.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from chassis.clock import Clock
from chassis.log import Incoming, Log, Outgoing
from chassis.tail import Start, Tail


@dataclass(frozen=True, slots=True)
class ClaimOf:
    """This record claims `key`; void where it landed after `valid_until_ms`."""

    key: str
    claim_id: str
    valid_until_ms: int


@dataclass(frozen=True, slots=True)
class CloseOf:
    """This record closes the claim `claim_id` of `key`; its value is kept beside the claim's."""

    key: str
    claim_id: str


@dataclass(frozen=True, slots=True)
class ReleaseOf:
    """This record gives `key` up: the next claim in the log may win it."""

    key: str
    claim_id: str


@dataclass(frozen=True, slots=True)
class Winner:
    """The claim that holds a key."""

    claim_id: str
    value: bytes
    offset: int
    timestamp_ms: int
    closed_by: bytes | None


Reading = Callable[[Incoming], ClaimOf | CloseOf | ReleaseOf | None]  # None: not ours to judge


class Claims:
    """The index of one claim topic, folded from the log. SQLite on disk where `path` is given, else in memory."""

    def __init__(
        self, log: Log, tail: Tail, clock: Clock, *, topic: str, read: Reading, window: timedelta, path: Path | None
    ) -> None: ...

    async def follow(self, partition: int, start: Start = "earliest") -> None:
        """Fold a partition; with a file, from where the file stands."""

    async def unfollow(self, partition: int) -> None: ...

    def ready(self) -> bool:
        """Caught up once with each followed partition, and the tail polled within the last second."""
        ...

    def winner(self, key: str) -> Winner | None:
        """Who holds `key` as far as this index has read (broker time decides whether the window is over)."""
        ...

    async def claim(self, record: Outgoing, *, within: float) -> Winner:
        """Append a claim and wait for the own tail: the winner may be another's. Raises LogUnavailable."""
        ...

    async def closed(self, key: str, *, within: float) -> Winner | None:
        """Wait until `key` is closed; None when it was not within `within` seconds."""
        ...

    def forget(self, key: str) -> None:
        """Drop a key that can not be asked for again (in-memory index only)."""
