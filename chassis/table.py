"""Compacted topics as mappings, for every process that must know an entity, with a proof of freshness.

`fresh_within(s)` is the lease behind "once it is answered, nothing starts any more" (R11, R13): readers start nothing
unless it holds, writers answer their client only a little more than `LEASE` after their ack. Never judge freshness by
what was received last: a buffered old answer looks fresh after a stop (reference: measured unsafe).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from chassis.clock import Clock
from chassis.log import Log
from chassis.settings import KafkaSettings
from schemas.envelope import Envelope, Payload
from schemas.topics import Topic

LEASE = 0.2  # seconds: readers must be this fresh
ANSWER_AFTER = 0.3  # seconds between a writer's ack and its answer: the lease and a margin

P = TypeVar("P", bound=Payload)
OnChange = Callable[[str, P | None, P | None], None]  # key, before, after


class Table(Mapping[str, P], Generic[P]):
    """One compacted topic as a read-only mapping of key to payload; changes only through `put` and `remove`."""

    topic: Topic

    def __getitem__(self, key: str) -> P: ...

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...

    def on_change(self, notify: OnChange[P]) -> None:
        """Call `notify` for each later change, and at once for every entry that is there already. Keep it short."""

    async def put(self, key: str, envelope: Envelope[P], *, within: float = 2.5) -> None:
        """Append; returns when this process has applied it. Raises LogUnavailable."""

    async def remove(self, key: str, *, within: float = 2.5) -> None:
        """Append a tombstone; returns when this process has applied it. Raises LogUnavailable."""


class Tables:
    """All tables of a process: one tail, one probe. Records that can not be read are logged, counted and passed over."""

    def __init__(self, kafka: KafkaSettings, log: Log, clock: Clock, *, client_id: str) -> None: ...

    def table(self, topic: Topic, payload: type[P]) -> Table[P]:
        """Declare a table; before `start`."""
        ...

    async def start(self) -> None:
        """Read every table to the end it had at the call; waits for the brokers as long as it takes."""

    async def stop(self) -> None: ...

    def fresh_within(self, seconds: float) -> bool:
        """Whether every record acked up to `seconds` ago, in any of these tables, is applied here."""
        ...

    async def wait_fresh(self, seconds: float, *, within: float) -> bool:
        """Wait for `fresh_within(seconds)`; False when it did not come within `within` seconds."""
        ...
