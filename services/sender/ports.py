"""What the honest attempt needs from the world, as the handlers see it. Shapes only."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from chassis.table import LEASE
from schemas.deliveries import AttemptRecorded, AttemptStarted, Delivery
from schemas.inputs import AttemptInput, Feedback
from schemas.mail import Tls
from schemas.tables import Suppression
from services.sender.domain.dane import Tlsa
from services.sender.domain.history import History
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome
from services.sender.domain.queue import Candidate
from services.sender.domain.reports import Hop, PostponedFor

# Why a begun attempt stopped before a byte of the body was written.
Stop = Literal["lease", "stale", "suppressed", "expired", "deadline"]


@dataclass(slots=True)
class Tenure:
    """One assignment of a deliveries partition to this process. `over` once it is given back."""

    topic: str
    partition: int
    over: bool = False


@dataclass(slots=True)
class Job:
    """One delivery at hand. `begun`: a claim may be in the log; from then on the job ends with a report, come what may."""

    delivery: Delivery
    project_id: str
    landed_ms: int
    tenure: Tenure
    begun: bool = False
    owner: str = ""  # in the journal; given when it is carried out


@dataclass(frozen=True, slots=True)
class Server:
    """Where a connection leads. `opportunistic` encrypts where it can and trusts any certificate; `required` verifies it.

    `dane`: it is encrypted whatever `tls` says, and these records vouch for the certificate; where there are none, `tls`
    says which one will do.
    """

    host: str  # what its certificate must name
    port: int
    tls: Tls = "opportunistic"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    address: str | None = None  # of the host, where it is settled; None: whatever the system resolves it to
    source_address: str | None = None  # of ours, to connect from; None: whatever the system takes
    version: int = 0  # of the settings above: another one has connections of its own
    dane: tuple[Tlsa, ...] | None = None  # None: DNS asks for nothing
    dane_names: tuple[str, ...] = ()  # that a certificate below an authority may be for


@dataclass(frozen=True, slots=True)
class PathLimits:
    """What is agreed with an upstream: per sender process, for all mail that takes the path."""

    connections: int
    messages_per_connection: int
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """Where an attempt would go, settled before it waits for a slot. Without `servers` it never leaves the house."""

    path: str
    provider_group: str  # of the destination, by its MX; on a path of one upstream: the path itself
    source_address: str | None = None
    servers: tuple[Server, ...] = ()  # in the order in which they are tried
    limits: PathLimits | None = None  # None: whatever the shaping says of the provider group


@dataclass(frozen=True, slots=True)
class PathDown:
    """This process does not have the path: the router has to choose again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Carried:
    """How an SMTP transaction ended: with an outcome, or stopped by the gate."""

    ended: Outcome | Stop
    hop: Hop = field(default_factory=Hop)


class Gate(Protocol):
    """Asked by the transport at the two points of no return. The verdicts are synchronous: nothing runs in between."""

    async def settle(self) -> None:
        """Before `before_data`: wait (briefly) for what can be waited for."""

    def before_data(self) -> Stop | None: ...

    def before_body(self) -> Stop | None: ...


class Ways(Protocol):
    """From a delivery to the servers that take it. Never raises for what DNS or a network does."""

    async def of(self, delivery: Delivery, project_id: str) -> Way | Outcome | PathDown:
        """An outcome where DNS has the last word already."""
        ...


class Carrier(Protocol):
    """SMTP, out. Never raises for what a server or a network does."""

    async def carry(self, way: Way, mail: Mail, gate: Gate, *, dot_by: float) -> Carried:
        """One transaction; the final dot is written before `dot_by` (monotonic seconds), or never."""
        ...


class Sandbox(Protocol):
    """Takes mail of test keys. Never raises for what the log does."""

    async def take(self, delivery: Delivery, project_id: str, mail: Mail, gate: Gate) -> Carried:
        """Once it says `delivered` or `unknown`, the mail can be read in the inbox."""
        ...


class NoRoom(Exception):
    """No slot, or no memory, comes free in time. `until_ms` (broker time): when there may be one again."""

    def __init__(self, until_ms: int | None = None, reason: PostponedFor = "busy") -> None:
        super().__init__(reason)
        self.until_ms = until_ms
        self.reason = reason


class NoContent(Exception):
    """The content of the mail can not be had: how the attempt ends, then."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reply)
        self.outcome = outcome


class Mails(Protocol):
    """Deliveries as bytes, signed where the project has a key. Large content is fetched for it, and held in memory only as long as the caller is inside."""

    def written(self, delivery: Delivery, project_id: str, *, within: float) -> AbstractAsyncContextManager[Mail]:
        """Raises UnsafeHeader, NoContent, and NoRoom where memory did not come free within `within` seconds."""
        ...


class Slot(Protocol):
    """Room for one transaction, while its context lasts."""

    def tell(self, carried: Carried) -> None:
        """How the transaction ended: what is learned of the pace."""
        ...


class Slots(Protocol):
    """Room for transactions: bounded, as fast as each provider takes mail, the higher priority first."""

    def check(self, way: Way, mail: Candidate) -> None:
        """Raises NoRoom where a slot would be too long in coming: before anything is done for it."""
        ...

    def slot(self, way: Way, mail: Candidate, *, within: float) -> AbstractAsyncContextManager[Slot]:
        """Raises NoRoom where none comes free soon, `within` seconds at most."""
        ...


class Journal(Protocol):
    """The attempt-journal."""

    async def history(self, delivery: Delivery) -> History:
        """What the log says of this attempt, as far as it is read. Raises LogUnavailable."""
        ...

    async def claim(self, started: AttemptStarted, project_id: str) -> AttemptStarted:
        """Append, read back: the claim that holds the attempt, ours or another's. Raises LogUnavailable."""
        ...

    async def record(self, recorded: AttemptRecorded, project_id: str, *, read_back: bool = False) -> None:
        """Append what became of it. Raises LogUnavailable."""
        ...

    def given_back(self, delivery: Delivery) -> bool:
        """Whether this dispatch, or a higher one, is recorded as not sent, as far as it is read; or may be, for all that
        is still known of the attempt: then it goes back once more.
        """
        ...


class Inputs(Protocol):
    """The router's inbox."""

    async def report(self, report: AttemptInput | Feedback, project_id: str) -> None:
        """Append, under an id that is the same at each repetition. Raises LogUnavailable."""
        ...


class Suppressed(Protocol):
    """The suppression list."""

    def fresh(self, within: float = LEASE) -> bool:
        """Whether everything that was acked `within` seconds ago is applied."""
        ...

    async def wait_fresh(self, within: float) -> bool: ...

    def find(self, project_id: str, recipient: str, tags: Sequence[str]) -> Suppression | None:
        """What stops a mail with these tags."""
        ...


class Rights(Protocol):
    """What the consumer group says (chassis.offset_tracker)."""

    def holds(self, topic: str, partition: int) -> bool: ...

    def lease_ends_ms(self) -> int: ...


class BrokerClock(Protocol):
    def broker_now_ms(self) -> int: ...
