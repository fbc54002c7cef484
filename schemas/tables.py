"""The compacted topics: one record per entity, the last one counts, a null value removes it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.envelope import Payload, Timestamp, by_type
from schemas.events import SuppressionOrigin, SuppressionReason
from schemas.mail import Value, WaitReason

Plan = Literal["standard", "enterprise"]


class ApiKey(Payload):
    """Key: id. Only the SHA-256 of the secret is here; it is shown once, when it is created."""

    TYPE: ClassVar[str] = "table.api_key"
    id: str
    project_id: str
    name: str
    environment: Literal["live", "test", "admin"]
    sha256: str  # hex of the whole key
    scopes: list[str]  # "resource.action", or "*"
    requests_per_minute: int | None = None  # None: as the project's plan says
    created_at: Timestamp
    revoked_at: Timestamp | None
    expires_at: Timestamp | None = None
    from_domains: list[str] = Field(default_factory=list)  # A-labels; empty: every domain of the project
    networks: list[str] = Field(default_factory=list)  # CIDR blocks that requests may come from; empty: from anywhere


class ApiKeyUsage(Payload):
    """Key: key id. When a key was last used, to the minute: written at most once a minute by each replica."""

    TYPE: ClassVar[str] = "table.api_key_usage"
    id: str
    project_id: str
    last_used_at: Timestamp


class Project(Payload):
    """Key: id."""

    TYPE: ClassVar[str] = "table.project"
    id: str
    name: str
    default_from: str | None
    created_at: Timestamp
    plan: Plan = "standard"
    requests_per_minute: int | None = None  # of each key; only where the plan is `enterprise`
    # Tags whose mail carries one-click unsubscribe headers; "*": all mail.
    unsubscribe_tags: list[str] = Field(default_factory=list)
    # How long a mail waits after attempt 1, 2, …; one attempt more than waits is made. None: as the router is set up.
    retry_schedule_ms: list[int] | None = None


class DkimKey(Value):
    """One key that mail is signed with. The private half is sealed (encrypted); its owner publishes the other."""

    selector: str
    algorithm: Literal["rsa", "ed25519"]
    public_key: str  # base64: p= of the DNS record
    sealed_private_key: str  # of base64 of PKCS #8


RecordStatus = Literal["pending", "found", "missing", "wrong", "unknown"]  # unknown: DNS did not answer


class DomainRecord(Value):
    """A DNS record that the domain's owner should publish, and what was found at the last look."""

    purpose: Literal["dkim", "spf", "return_path", "dmarc"]
    type: Literal["TXT", "CNAME"]
    name: str
    value: str
    status: RecordStatus = "pending"
    found: list[str] = Field(default_factory=list)  # what stands there instead


class Domain(Payload):
    """Key: project:domain. A project may send from a domain that is verified."""

    TYPE: ClassVar[str] = "table.domain"
    id: str
    project_id: str
    domain: str
    verified_at: Timestamp | None
    created_at: Timestamp = "1970-01-01T00:00:00.000Z"
    checked_at: Timestamp | None = None  # None: DNS was never asked; if verified, then by whoever runs the installation
    return_path: str | None = None  # the sub-domain that bounces go to
    dkim_keys: list[DkimKey] = Field(default_factory=list)
    records: list[DomainRecord] = Field(default_factory=list)


class Suppression(Payload):
    """Key: project:scope:address:origin, so that no writer overwrites another's; readers take the union."""

    TYPE: ClassVar[str] = "table.suppression"
    id: str
    project_id: str
    scope: str  # "*": the whole project
    recipient: str  # lower case, domain as A-label
    reason: SuppressionReason
    origin: SuppressionOrigin
    source_event_id: str | None
    created_at: Timestamp


def suppression_key(project_id: str, recipient: str, origin: SuppressionOrigin, scope: str = "*") -> str:
    """The key of a suppression; `recipient` in any case (a list that misses `Bob@` is no list)."""
    return f"{project_id}:{scope}:{recipient.lower()}:{origin}"


DisabledReason = Literal["owner", "gone", "failing"]  # gone: it answered 410


class OldSecret(Value):
    """A secret that has been replaced: calls are signed with it as well, until then."""

    sealed_secret: str
    until: Timestamp


class WebhookEndpoint(Payload):
    """Key: id. Secrets are sealed (encrypted)."""

    TYPE: ClassVar[str] = "table.webhook_endpoint"
    id: str
    project_id: str
    url: str
    events: list[str]  # event types, families as "message.*", or "*"
    tags: list[str]  # empty: every tag
    description: str | None
    sealed_secret: str
    created_at: Timestamp
    old_secrets: list[OldSecret] = Field(default_factory=list)  # newest first
    disabled_at: Timestamp | None = None
    enabled_at: Timestamp | None = None  # again by its owner: what its health says of before counts no more
    disabled_reason: DisabledReason | None = None
    rate_per_second: float | None = None  # requests at most; None: as the service webhooks is set up


class EndpointHealth(Payload):
    """Key: endpoint id; removed when a call arrives. An endpoint that keeps failing, or was disabled for what it answered."""

    TYPE: ClassVar[str] = "table.endpoint_health"
    id: str
    project_id: str
    failing_since: Timestamp  # nothing has arrived since
    first_event_at: Timestamp  # when the event happened that showed it
    disabled_at: Timestamp | None = None
    disabled_reason: DisabledReason | None = None


class EndpointExhaustion(Payload):
    """Key: endpoint id. When its owner was last told that an event was tried there for the last time."""

    TYPE: ClassVar[str] = "table.endpoint_exhaustion"
    id: str
    project_id: str
    told_at: Timestamp


def as_it_stands(endpoint: WebhookEndpoint, health: EndpointHealth | None) -> WebhookEndpoint:
    """The endpoint, disabled where its health says so and its owner has not enabled it since."""
    if health is None or health.disabled_at is None or endpoint.disabled_at is not None:
        return endpoint
    if health.disabled_at <= (endpoint.enabled_at or endpoint.created_at):
        return endpoint
    return endpoint.model_copy(update={"disabled_at": health.disabled_at, "disabled_reason": health.disabled_reason})


class Queue(Value):
    """Waiting and running mail of one destination in one partition."""

    destination: str
    waiting: int
    in_flight: int
    oldest_ms: int | None  # acceptance of the oldest waiting message
    next_due_ms: int | None
    provider_group: str | None = None  # a provider's name, or the destination itself; None: nobody has resolved it yet
    reason: WaitReason | None = None  # what its oldest waiting message waits for
    paused: bool = False  # somebody has stopped it, or its provider group, for all projects or for one


class QueueState(Payload):
    """Key: lane:partition. The router's snapshot, each second while anything changes."""

    TYPE: ClassVar[str] = "table.queue_state"
    lane: Literal["express", "standard"]
    partition: int
    taken_at: Timestamp
    queues: Annotated[list[Queue], Field(max_length=1000)]


API_KEYS = by_type(ApiKey)
API_KEY_USAGE = by_type(ApiKeyUsage)
PROJECTS = by_type(Project)
DOMAINS = by_type(Domain)
SUPPRESSIONS = by_type(Suppression)
WEBHOOK_ENDPOINTS = by_type(WebhookEndpoint)
ENDPOINT_HEALTH = by_type(EndpointHealth)
ENDPOINT_EXHAUSTIONS = by_type(EndpointExhaustion)
QUEUE_STATE = by_type(QueueState)
