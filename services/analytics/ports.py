"""What analytics asks of its store: a projection to write, and questions to answer, a port for each resource of the API.

Every answer is of one project; all raise StoreUnavailable.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from chassis.log import Incoming
from schemas.alerts import AlertRule
from services.analytics.domain.attempts import AttemptRow, AttemptsQuery, EndpointAttempt
from services.analytics.domain.cursors import Positions
from services.analytics.domain.dead_letters import DeadLetter, Group, LetterFilters, LettersQuery
from services.analytics.domain.destinations import DestinationRow
from services.analytics.domain.feed import FeedEntry, Heads
from services.analytics.domain.ledger import Account, Counts, Hours, Moves, Octets, Standing
from services.analytics.domain.message_filters import MessagesQuery
from services.analytics.domain.messages import Message
from services.analytics.domain.metrics import MetricsQuery, MetricsRow
from services.analytics.domain.rows import EventRow
from services.analytics.domain.sandbox import SandboxQuery, SandboxRow


class StoreUnavailable(Exception):
    """ClickHouse is away, or refuses: ask again later. Nothing is lost, the log has it."""


class LogAway(Exception):
    """Kafka did not say what the ledger asked of it: ask again later."""


class Projection(Protocol):
    """The write side: once an insert returns, its rows are there. They are of one month; all raise StoreUnavailable.

    Rows that are there already change no answer.
    """

    async def insert_events(self, rows: Sequence[EventRow]) -> None: ...

    async def insert_attempts(self, rows: Sequence[AttemptRow]) -> None: ...

    async def insert_sandbox_mails(self, rows: Sequence[SandboxRow]) -> None: ...

    async def insert_destinations(self, rows: Sequence[DestinationRow]) -> None: ...


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
    async def ends(self) -> Positions:
        """Behind all that can be read now, of whatever project."""
        ...

    async def next_events(
        self, project_id: str, start: Positions, types: frozenset[str], *, per_partition: int
    ) -> Heads:
        """Of each partition the next events from `start` on, at most `per_partition`."""
        ...

    async def events(self, project_id: str, entries: Sequence[FeedEntry]) -> Mapping[str, str]:
        """Those events by id, as they stand in Kafka."""
        ...


class FeedWatch(Protocol):
    async def new_projects(self) -> Collection[str]:
        """Those of which events can be read that could not at the last call."""
        ...


class MetricReads(Protocol):
    async def metrics(self, project_id: str, query: MetricsQuery) -> list[MetricsRow]:
        """Of each interval and group that has anything, in order; one more than MAX_ROWS where there are too many."""
        ...


class AttemptReads(Protocol):
    async def attempts(self, project_id: str, query: AttemptsQuery, *, count: int) -> list[EndpointAttempt]:
        """Newest first, at most `count`."""
        ...


class DeadLetterReads(Protocol):
    async def letters(self, project_id: str, query: LettersQuery, *, count: int) -> list[DeadLetter]:
        """Newest first, at most `count`."""
        ...

    async def groups(self, project_id: str, filters: LetterFilters) -> list[Group]:
        """The largest first."""
        ...


class SandboxReads(Protocol):
    async def sandbox_mails(self, project_id: str, query: SandboxQuery, *, count: int) -> list[SandboxRow]:
        """Newest first, at most `count`, without their bytes."""
        ...

    async def sandbox_mail(self, project_id: str, message_id: str) -> SandboxRow | None: ...


class Counted(NamedTuple):
    """What the tables hold of some hours; they hold all that stands before `reach` in the log, and nothing behind it."""

    accounts: Mapping[Account, Counts]
    reach: Positions


class AlertRules(Protocol):
    def known(self) -> Mapping[str, AlertRule] | None:
        """All rules by id, deleted ones among them; None while it is not certain that these are all."""
        ...


class LedgerTables(Protocol):
    """ClickHouse's side of the ledger; without a project it is counted of all."""

    async def counted(self, hours: Hours, project_id: str | None) -> Counted: ...


class LedgerLog(Protocol):
    """The log's side: positions are of the partitions of message-events and message-inputs. All raise LogAway."""

    async def beginnings(self) -> Positions: ...

    async def ends(self) -> Positions:
        """Of the events."""
        ...

    async def inserted(self) -> Positions:
        """Below, all events are in ClickHouse."""
        ...

    async def decided(self) -> Positions:
        """Below, the router has decided on all inputs, and their events are in the log."""
        ...

    def read(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Incoming]]:
        """What lies between them, in pieces."""
        ...

    async def stop(self) -> None: ...


class LedgerBook(Protocol):
    """What the ledger has counted, and how far it has read: each call changes both or neither."""

    def positions(self) -> Positions: ...

    def standings(self, messages: Iterable[Octets]) -> Mapping[Octets, Standing]:
        """Of those that have one."""
        ...

    def keep(self, moves: Moves, positions: Positions) -> None: ...

    def keep_missing(self, missing: Mapping[Octets, str], positions: Positions) -> None:
        """Messages without an event, with their projects."""
        ...

    def counts(self, hours: Hours, project_id: str | None) -> Mapping[Account, Counts]: ...

    def missing(self, hours: Hours, project_id: str | None) -> Mapping[Account, int]: ...

    def forget(self, before_ms: int) -> None: ...

    def begin_anew(self, reason: str) -> None: ...

    def close(self) -> None: ...


class Run(NamedTuple):
    """One rebuild: its id, the process that carries it out, and since when (Unix ms)."""

    run: str
    instance: str
    begun_at: int


class Shadow(Protocol):
    """Tables beside the live ones, which they replace. Each call may be repeated; all raise StoreUnavailable."""

    @property
    def projection(self) -> Projection:
        """Into the tables beside."""
        ...

    async def left(self) -> Run | None:
        """What was begun and has not come to its end."""
        ...

    async def open(self, run: Run) -> None: ...

    async def exchange(self, run: Run) -> None: ...

    async def drop(self) -> None: ...

    async def lost(self, beginnings: Positions) -> int:
        """Rows that a log which begins there could not bring back."""
        ...


class LogPositions(Protocol):
    """Of the topics that are inserted. All raise LogAway."""

    async def beginnings(self) -> Positions: ...

    async def ends(self) -> Positions: ...

    async def stored(self, group: str) -> Positions:
        """How far a group has come."""
        ...

    async def members(self, group: str) -> int: ...

    async def stop(self) -> None: ...
