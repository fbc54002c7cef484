"""What the router needs of the world: its local file, the tables it goes by, and submissions read again from the log."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.mail import Content, WaitReason
from schemas.routing import QueueFlush
from services.router.domain.admission import Standing
from services.router.domain.decision import Listed
from services.router.domain.directions import Directions
from services.router.domain.ladder import Ladder
from services.router.domain.pauses import Bar
from services.router.domain.timers import TimerKind

# The broker's clock in ms (`chassis.log.Log.broker_now_ms`).
BrokerTime = Callable[[], int]
# Told the destination whose provider group has become known, or another.
OnGrouped = Callable[[str], None]
# Told (project id, address, suppression id) of each suppression that is added or changed.
OnListed = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One message as the local file indexes it; `record` is its state record, untouched."""

    message_id: str
    project_id: str
    address: str  # as suppressions name it
    standing: Standing
    group: str  # the provider's, as known now
    bar: str | None  # `services.router.domain.pauses.Bar`, of what stands in line and may not be called
    reason: WaitReason | None
    path: str | None  # of the last hand-out
    changed_ms: int  # when this state came to be, broker time
    attempt: int
    dispatch: int
    rank_ms: int
    submit_offset: int
    created_at_ms: int
    timer: TimerKind | None
    due_at_ms: int | None  # the timer's
    closed_at_ms: int | None
    record: bytes


@dataclass(frozen=True, slots=True)
class Timer:
    """A message whose time, or turn, has come."""

    message_id: str
    project_id: str
    kind: TimerKind
    attempt: int
    dispatch: int


@dataclass(frozen=True, slots=True)
class Census:
    """Open messages of one destination and tier, counted from the file."""

    destination: str
    group: str  # as known when the file was written
    tier: int
    in_flight: int
    queued: int
    stopped: int
    waiting: int
    postponed_until_ms: int | None


@dataclass(frozen=True, slots=True)
class Moved:
    """So many that stand in line were stopped, or let go."""

    destination: str
    tier: int
    messages: int


@dataclass(frozen=True, slots=True)
class Horizon:
    """Of what waits for one destination: the oldest acceptance and its reason, and when something is due next."""

    oldest_ms: int | None
    next_due_ms: int | None
    reason: WaitReason | None = None


class Store(Protocol):
    """A throw-away view of one partition's message-state. What is written is kept at the next `commit`."""

    def next_offset(self) -> int | None:
        """The changelog offset to go on from; None where there is nothing."""
        ...

    def input_offset(self) -> int | None:
        """The last committed input offset that the changelog remembers."""
        ...

    def fence(self) -> int | None:
        """The newest fence of the changelog before `next_offset`, or in what nobody applied since."""
        ...

    def remember_fence(self, offset: int) -> None: ...

    def put(self, row: Row) -> None: ...

    def remove(self, message_id: str) -> None: ...

    def remember_input_offset(self, offset: int) -> None: ...

    def applied(self, offset: int, timestamp_ms: int) -> None:
        """This changelog record is in."""
        ...

    def commit(self) -> None: ...

    def records(self, message_ids: Iterable[str]) -> Mapping[str, bytes]: ...

    def standing(self, message_id: str) -> Standing | None: ...

    def due(self, now_ms: int, limit: int) -> Sequence[Timer]:
        """Timers whose time has come, the longest overdue first."""
        ...

    def queued(self, group: str, tier: int, limit: int, *, retried: bool) -> Sequence[Timer]:
        """Who may be called from the line, in order: new mail, or mail that is tried again."""
        ...

    def flushed(self, flush: QueueFlush, flushed_ms: int, limit: int) -> Sequence[Timer]:
        """Who has waited for a time there since before that moment, in order."""
        ...

    def regroup(self, destination: str, group: str) -> None:
        """The destination's open mail belongs to this group from now on."""
        ...

    def stop(self, bar: Bar, limit: int) -> Sequence[Moved]:
        """Put a pause's bar before who stands in its line and has none."""
        ...

    def let_go(self, bar: Bar, limit: int) -> Sequence[Moved]:
        """Take the bar away from the first of those who have it."""
        ...

    def bars(self) -> Iterable[Bar]:
        """Those that somebody stands behind."""
        ...

    def unsent_to(self, project_id: str, address: str) -> Sequence[str]:
        """Open messages to this recipient that are not in flight."""
        ...

    def unsent_recipients(self) -> Iterable[tuple[str, str]]:
        """(project id, address) of all open messages that are not in flight."""
        ...

    def census(self) -> Iterable[Census]: ...

    def scheduled(self) -> int:
        """How many wait for the time that their client chose: they stand in no queue, and in no census."""
        ...

    def horizon(self, destination: str) -> Horizon: ...

    def closed_before(self, ms: int, limit: int) -> Sequence[str]: ...

    def close(self) -> None: ...


class Suppressions(Protocol):
    """The suppression list, over all origins and scopes."""

    async def fresh(self) -> bool:
        """Wait a moment for a list that is as fresh as R11 demands; False where it did not come."""
        ...

    def listed(self, project_id: str, address: str, tags: Sequence[str]) -> Listed | None:
        """What stops a mail with these tags."""
        ...

    def id_of(self, project_id: str, address: str) -> str | None:
        """A suppression of this address, of whatever scope: a reason to look at its mail again."""
        ...

    def watch(self, notify: OnListed) -> Callable[[], None]:
        """Tell `notify` of each addition from now on; the answer ends that."""
        ...


class Ladders(Protocol):
    """The retry schedules that projects have of their own."""

    def of(self, project_id: str) -> Ladder | None:
        """None where the project has none, or nobody knows it: then the service's own holds."""
        ...


class Tables(Protocol):
    """Routes, policies, pauses, paths, domains and destinations, as far as this process has read them."""

    def now(self) -> Directions:
        """What they say at this moment. To be asked once for a batch, or a tick."""
        ...

    def group_of(self, destination: str) -> str:
        """Its provider group; the destination itself where nobody has resolved it."""
        ...

    def watch(self, notify: OnGrouped) -> Callable[[], None]:
        """Tell `notify` of each destination whose group changes from now on; the answer ends that."""
        ...


class Submissions(Protocol):
    """Submits read again from the log, for as long as it keeps them."""

    async def content(self, partition: int, offset: int) -> Content | None:
        """What the Submit at this offset says; None where the log has it no more. Raises LogUnavailable."""
        ...
