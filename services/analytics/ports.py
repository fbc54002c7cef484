"""What analytics asks of its store: a projection to write, and questions to answer, a port for each resource of the API.

Every answer is of one project; all raise StoreUnavailable.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.analytics.domain.attempts import AttemptRow, EndpointAttempt
from services.analytics.domain.cursors import AttemptCursor, Positions
from services.analytics.domain.feed import FeedEntry, Heads
from services.analytics.domain.message_filters import MessagesQuery
from services.analytics.domain.messages import Message
from services.analytics.domain.rows import EventRow
from services.analytics.domain.sandbox import SandboxQuery, SandboxRow


class StoreUnavailable(Exception):
    """ClickHouse is away, or refuses: ask again later. Nothing is lost, the log has it."""


class Projection(Protocol):
    """The write side: once an insert returns, its rows are there. They are of one month; all raise StoreUnavailable.

    Rows that are there already change no answer.
    """

    async def insert_events(self, rows: Sequence[EventRow]) -> None: ...

    async def insert_attempts(self, rows: Sequence[AttemptRow]) -> None: ...

    async def insert_sandbox_mails(self, rows: Sequence[SandboxRow]) -> None: ...


class MessageReads(Protocol):
    async def messages(self, project_id: str, query: MessagesQuery, *, count: int) -> list[Message]:
        """Newest first, at most `count`."""
        ...

    async def message(self, project_id: str, message_id: str) -> Message | None: ...

    async def timeline(self, project_id: str, message_id: str, last_sequence: int) -> list[str]:
        """The events of a message up to `last_sequence`, in order, as they stand in Kafka."""
        ...

    async def belongs_elsewhere(self, project_id: str, message_id: str) -> bool:
        """Whether another project than this one has the message."""
        ...


class FeedReads(Protocol):
    async def next_events(
        self, project_id: str, start: Positions, types: frozenset[str], *, per_partition: int
    ) -> Heads:
        """Of each partition the next events from `start` on, at most `per_partition`."""
        ...

    async def events(self, project_id: str, entries: Sequence[FeedEntry]) -> Mapping[str, str]:
        """Those events by id, as they stand in Kafka."""
        ...


class AttemptReads(Protocol):
    async def attempts(
        self, project_id: str, endpoint_id: str, after: AttemptCursor | None, *, count: int
    ) -> list[EndpointAttempt]:
        """Newest first, at most `count`."""
        ...


class SandboxReads(Protocol):
    async def sandbox_mails(self, project_id: str, query: SandboxQuery, *, count: int) -> list[SandboxRow]:
        """Newest first, at most `count`, without their bytes."""
        ...

    async def sandbox_mail(self, project_id: str, message_id: str) -> SandboxRow | None: ...
