"""What the handlers need of the outside, by capability. Every port that writes raises `chassis.log.LogUnavailable`."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from chassis.ids import MessageId
from schemas.envelope import Payload
from schemas.idempotency import Claim
from schemas.inputs import Command, Feedback, Submit
from schemas.mail import Blob, Lane
from schemas.replies import Verdict
from schemas.routing import PathHealth, QueueFlush, QueuePause, SenderAlive, Versioned
from schemas.tables import ApiKey, Domain, DomainRecord, Project, QueueState, Suppression
from schemas.templates import Template, TemplateVersion
from schemas.webhooks import WebhookReplay, WebhookTest
from services.ingest.domain.acceptance import Placed
from services.ingest.domain.access import Caller, KnownKey
from services.ingest.domain.domains import Looked
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.parcels import Parcel
from services.ingest.domain.queues import Place
from services.ingest.domain.suppression_list import Selection
from services.ingest.domain.templates import Part, Rendered

P = TypeVar("P", bound=Payload)
V = TypeVar("V", bound=Versioned)
Algorithm = Literal["rsa", "ed25519"]


class Freshness(Protocol):
    """The lease under which tables may be believed (R11, R13)."""

    async def wait_fresh(self) -> bool:
        """Whether the tables hold all that was acked until a lease ago; waits a moment for it."""
        ...


class Keys(Protocol):
    def by_hash(self, sha256: str) -> KnownKey | None: ...

    def per_minute(self, caller: Caller) -> int:
        """The rate limit of a key: its own, or its project's plan."""
        ...


class KeyUsage(Protocol):
    """When keys were last used, to the minute (R13)."""

    def used(self, caller: Caller) -> None:
        """Note it; what is noted is written later, at once for all requests of a minute."""
        ...

    def last_used(self, key_id: str) -> str | None: ...


class Senders(Protocol):
    """Which project sends as whom (R4)."""

    def project(self, project_id: str) -> Project | None: ...

    def owns_domain(self, project_id: str, domain: str) -> bool:
        """Whether the project has verified the domain (A-label)."""
        ...


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate limit after this request (R14)."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: int  # Unix seconds


class RateLimits(Protocol):
    def take(self, bucket: str, per_minute: int) -> Allowance:
        """Count one request against `bucket`."""
        ...

    def look(self, bucket: str, per_minute: int) -> Allowance:
        """How it stands, without counting."""
        ...


class SharedRateLimits(Protocol):
    """Counters that all replicas share."""

    async def take(self, bucket: str, per_minute: int) -> Allowance | None:
        """Count one request against `bucket`; None where the counters are away, and each must count for itself."""
        ...


class Submissions(Protocol):
    """The inputs of the router."""

    def place(self, lane: Lane) -> Placed:
        """The partition of the next request."""
        ...

    def max_bytes(self, lane: Lane) -> int:
        """The largest batch."""
        ...

    def broker_now_ms(self) -> int: ...

    async def submit(self, project_id: str, submits: Sequence[Submit], place: Placed, *, within: float) -> None:
        """Append all of them or none; returns when they are in the log for good, before their `valid_until_ms`."""
        ...


class Commands(Protocol):
    """Inputs of the router that a client waits for."""

    reply_to: str  # where verdicts for this process go

    def ready(self) -> bool:
        """Whether a verdict would be seen here."""
        ...

    async def ask(self, project_id: str, command: Command, *, within: float) -> Verdict | None:
        """Append the command, wait for its verdict; None where none came in time, which decides nothing."""
        ...


class ContentsAway(Exception):
    """Object storage does not answer."""


class ContentsGone(Exception):
    """It answers, and has no such content any more."""


class Contents(Protocol):
    """Object storage, for content that is too large for the log (R5)."""

    async def keep(self, parcel: Parcel) -> None:
        """Returns when it is stored; a repeat is harmless. Raises ContentsAway."""
        ...


class KeptContents(Protocol):
    """The other direction."""

    async def fetch(self, blob: Blob) -> memoryview:
        """What was kept. Raises ContentsAway, ContentsGone."""
        ...


class Originals(Protocol):
    """What messages were made from, as long as the log has it (R29)."""

    async def submits(self, wanted: Sequence[MessageId], octets: int) -> Mapping[str, Submit | None]:
        """By id; None: the log has it no more. Those are missing that there was no time for, nor room in `octets`.

        Raises LogUnavailable.
        """
        ...


class DeadLetters(Protocol):
    """Which messages have failed for good, as the read side knows it. Raises AnalyticsAway, and Refused (422)."""

    async def among(self, caller: Caller, message_ids: Sequence[str], request_id: str) -> frozenset[str]:
        """Those of these that are dead letters."""
        ...

    async def matching(self, caller: Caller, filters: Mapping[str, str], limit: int, request_id: str) -> list[str]:
        """Newest first, at most `limit`."""
        ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who holds an idempotency key, and whether its messages are known to be in the log."""

    claim: Claim
    claimed_at_ms: int  # broker time
    done: bool


class IdempotencyLog(Protocol):
    """The claim log (R3). `key` is scoped by the project already."""

    def ready(self) -> bool:
        """Caught up, and in touch with the brokers: without that nothing may be concluded from it."""
        ...

    def holder(self, key: str) -> Claimed | None: ...

    async def claim(self, key: str, project_id: str, claim: Claim, *, within: float) -> Claimed:
        """Append the claim and read back: the holder may be another."""
        ...

    async def wait_done(self, key: str, *, within: float) -> bool: ...

    def announce_done(self, key: str, project_id: str, claim_id: str) -> None:
        """Tell those who wait; without a guarantee: they help themselves."""
        ...


class Entities(Protocol[P]):
    """One kind of entity, by id within a project, newest first."""

    def get(self, project_id: str, key: str) -> P | None:
        """By the table's key; another project's is None."""
        ...

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[P], str | None]:
        """A page, and the cursor of the next one where there is more."""
        ...

    async def put(self, key: str, entity: P) -> None:
        """Returns when it is in the log and applied here."""
        ...

    async def remove(self, key: str) -> None: ...


class SuppressionList(Entities[Suppression], Protocol):
    """The causes of all addresses."""

    def of_address(self, project_id: str, recipient: str) -> Sequence[Suppression]:
        """Every cause, of whatever scope and origin."""
        ...

    def search(
        self, project_id: str, page: PageRequest, selection: Selection
    ) -> tuple[Sequence[Suppression], str | None]:
        """A page of what is selected. It may be short, or empty, and have a next one: a search takes its time in parts."""
        ...


class ApiKeys(Entities[ApiKey], Protocol):
    def anyones(self, key: str) -> ApiKey | None:
        """Whosever it is: for admin keys."""
        ...


class FeedbackInputs(Protocol):
    async def report(self, project_id: str, feedback: Feedback) -> None:
        """Append it for the router that owns the message; a repeat has the same id and counts once."""
        ...


class EndpointCommands(Protocol):
    async def send(self, project_id: str, record_id: str, command: WebhookTest | WebhookReplay, time_ms: int) -> None:
        """Durably; the service webhooks then makes the calls. Raises LogUnavailable."""
        ...


class Templates(Protocol):
    """What mail is made from (R8)."""

    def find(self, project_id: str, name_or_id: str) -> Template | None:
        """What is not deleted."""
        ...

    def version(self, template_id: str, number: int) -> TemplateVersion | None:
        """Also of a template that was deleted lately: an accepted request may need it."""
        ...


class TemplateStore(Templates, Protocol):
    """What their owners change. Where two writers take one name or number, the first in the log has it."""

    def numbers(self, template_id: str) -> Sequence[int]:
        """The versions there are, in order."""
        ...

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[Template], str | None]: ...

    def count(self, project_id: str) -> int: ...

    def octets(self, project_id: str) -> int:
        """Of all sources that are kept for the project."""
        ...

    def deleted(self, project_id: str) -> Sequence[Template]: ...

    async def put(self, template: Template) -> None:
        """Returns when it is applied here, as the next ones do."""
        ...

    async def put_version(self, version: TemplateVersion) -> None: ...

    async def remove_version(self, version: TemplateVersion) -> None: ...

    async def remove(self, template: Template) -> None:
        """With all its versions."""
        ...


class Render(Protocol):
    """Where customers' templates run: in bounds of time and memory, away from this process."""

    async def render(self, parts: Mapping[Part, str], data: dict[str, Any]) -> Rendered:
        """Raises Refused: 422 for what is wrong with the template or its data, 503 where it can not be found out."""
        ...

    async def variables(self, parts: Mapping[Part, str]) -> list[str]:
        """The names that the sources use. Raises Refused: 422 for what is no template."""
        ...


class AccountEvents(Protocol):
    async def publish(self, project_id: str, event_id: str, subject: str, change: Payload, time_ms: int) -> None:
        """Append to the account's events; a repeat has the same id and harms nobody."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What analytics answered, passed on as it is."""

    status: int
    body: bytes
    content_type: str


class AnalyticsAway(Exception):
    """The read side does not answer."""


class Flow(Protocol):
    """An answer of analytics that has no end, as it comes."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Ends where the other side ends, or breaks off."""
        ...

    def close(self) -> None: ...


class Analytics(Protocol):
    async def get(self, path: str, query: str, caller: Caller, request_id: str) -> Reply:
        """Raises AnalyticsAway."""
        ...


class AnalyticsToFollow(Analytics, Protocol):
    async def follow(
        self, path: str, query: str, caller: Caller, request_id: str, last_event_id: str | None
    ) -> Flow | Reply:
        """A stream, to be closed; or the answer that there is none. Raises AnalyticsAway."""
        ...


class Seals(Protocol):
    def seal(self, plaintext: str) -> str: ...


class RenewableSeals(Seals, Protocol):
    def renew(self, sealed: str) -> str:
        """Under the newest key. Raises WrongSealingKey."""
        ...


class DomainEntities(Entities[Domain], Protocol):
    def by_id(self, project_id: str, domain_id: str) -> Domain | None: ...

    def count(self, project_id: str) -> int: ...

    def all(self) -> Sequence[Domain]:
        """Of every project: for the daily look at them."""
        ...


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves in base64; the private one leaves this process only sealed."""

    public: str
    private: str = field(repr=False)


class KeyPairs(Protocol):
    async def make(self, algorithm: Algorithm) -> KeyPair: ...


class Dns(Protocol):
    async def look(self, record: DomainRecord) -> Looked:
        """What stands where the record should stand. Never raises: silence is an answer, too."""
        ...


class Versions(Protocol[V]):
    """Routes, upstreams, policies or alerts. `owner` is a project, or "" for the installation."""

    def find(self, owner: str, entity_id: str) -> V | None:
        """Of exactly this owner, a deleted one, too."""
        ...

    def live(self, owner: str) -> Sequence[V]:
        """What is not deleted, oldest first."""
        ...

    def all_live(self) -> Sequence[V]:
        """Of every owner."""
        ...

    def deleted(self, owner: str) -> Sequence[V]:
        """By time of deletion, the oldest first."""
        ...

    def page(self, owner: str, page: PageRequest) -> tuple[Sequence[V], str | None]:
        """The owner's and the installation's, newest first, and the cursor of the next page where there is more."""
        ...

    async def put(self, entity: V) -> None:
        """Returns when it is in the log and applied here."""
        ...

    async def remove(self, entity_id: str) -> None: ...


class QueueControls(Protocol):
    """Stopped queues, and wishes to send what waits in one."""

    def paused(self, owner: str, place: Place) -> QueuePause | None: ...

    def pauses(self, owners: frozenset[str]) -> Sequence[QueuePause]: ...

    def flushes(self, owner: str) -> Sequence[QueueFlush]: ...

    async def pause(self, pause: QueuePause) -> None: ...

    async def resume(self, owner: str, place: Place) -> None: ...

    async def flush(self, flush: QueueFlush) -> None: ...

    async def forget(self, flush: QueueFlush) -> None:
        """Every router has seen it long ago."""
        ...


class Observed(Protocol):
    """What routers and senders said last; it may be seconds old."""

    def queues(self) -> Iterable[QueueState]: ...

    def senders(self) -> Iterable[SenderAlive]: ...

    def health(self) -> Iterable[PathHealth]: ...

    def group_of(self, destination: str) -> str:
        """Its provider group; the destination itself where no sender has told."""
        ...
