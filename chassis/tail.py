"""Reading partitions whole, without a group: each record is applied once, in log order, by a plain function.

What tables, claims and read-backs are made of. It must never commit an offset, nor skip a record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from chassis.log import Incoming
from chassis.settings import KafkaSettings

Apply = Callable[[Incoming], None]


@dataclass(frozen=True, slots=True)
class FromTime:
    """Start at the first record at or after this broker time (ms); at the end where there is none."""

    ms: int


Start = int | FromTime | Literal["earliest", "latest"]  # an int is the next offset to apply


class Tail:
    """One consumer of a process for any number of partitions, which may come and go."""

    def __init__(self, kafka: KafkaSettings, *, client_id: str) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def follow(self, topic: str, partition: int, apply: Apply, start: Start = "earliest") -> None:
        """Begin applying this partition. An exception from `apply` stops the service: it is a bug, not a record."""

    async def unfollow(self, topic: str, partition: int) -> None:
        """Stop applying it; after this returns `apply` is not called again."""

    def position(self, topic: str, partition: int) -> int:
        """The next offset to be applied."""
        ...

    async def applied(self, topic: str, partition: int, offset: int, *, within: float) -> None:
        """Wait until that offset has been applied. Raises LogUnavailable after `within` seconds."""

    async def caught_up(self, topic: str, partition: int, *, within: float) -> None:
        """Wait until everything that was in the partition at the time of the call is applied."""

    def seconds_since_poll(self) -> float:
        """How long ago the brokers last answered: a stale tail is no ground for an answer."""
        ...
