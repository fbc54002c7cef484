"""Where mail goes and how fast: the tables of routes, upstreams, policies and stopped queues, and what senders found out.

A path is named as people see it: `mx:<pool>` (direct to the recipient's mail exchangers), the id of an upstream (`ups_…`),
`upstream` (the smarthost of the sender's environment), `sandbox`. A `project_id` of "" means the whole installation.
Readers skip what has a `deleted_at`: it stays, so that a deletion can be undone.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from schemas.envelope import Payload, Timestamp, by_type
from schemas.mail import Priority, Tls, Value

JsonObject = dict[str, Any]


class Versioned(Payload):
    """What every entity of the control plane has; `previous` is what it said before the last change."""

    id: str
    project_id: str
    name: str
    version: int  # 1, 2, …
    created_at: Timestamp
    updated_at: Timestamp
    updated_by: str  # id of the key
    deleted_at: Timestamp | None = None
    previous: JsonObject | None = (
        None  # the fields that the last change replaced, whole; None: there was nothing before
    )


class Upstream(Versioned):
    """Key: id (`ups_…`). A smarthost. The limits are of one sender process, for all mail that takes this path."""

    TYPE: ClassVar[str] = "table.upstream"
    host: str
    port: int
    tls: Tls = "required"
    username: str | None = None
    sealed_password: str | None = None
    pool: str = "main"  # whose senders connect to it
    preset: str | None = None  # the provider it was made from
    connections: int = 20
    messages_per_connection: int = 1000
    per_second: float | None = None  # mails


class RouteMatch(Value):
    """All that is given must fit, one entry of each is enough; what is empty fits everything."""

    recipient_domains: list[str] = Field(default_factory=list)  # A-labels; `*.example.org`: what is below it
    provider_groups: list[str] = Field(default_factory=list)
    from_domains: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    priorities: list[Priority] = Field(default_factory=list)


class WeightedPath(Value):
    path: str
    weight: Annotated[int, Field(ge=1, le=100)] = 1


class Route(Versioned):
    """Key: id (`rte_…`). A project's rules come before the installation's, each in the order of `position`, then age."""

    TYPE: ClassVar[str] = "table.route"
    position: int
    match: RouteMatch = RouteMatch()
    paths: list[WeightedPath]
    fallback: list[str] = Field(default_factory=list)  # paths in order, for when none of `paths` is healthy
    tls: Tls | None = None  # None: as the policy or the path says


class Policy(Versioned):
    """Key: id (`pol_…`). For the mail it names; None leaves a thing to the next policy, at last to the defaults.

    Limits of connections and pace count in the installation's policies only: addresses are shared by all projects.
    """

    TYPE: ClassVar[str] = "table.policy"
    provider_groups: list[str] = Field(default_factory=list)
    recipient_domains: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    retry_schedule_ms: list[int] | None = None
    max_age_ms: int | None = None  # from acceptance; then it bounces
    tls: Tls | None = None
    connections: int | None = None  # per source address and provider group
    messages_per_connection: int | None = None
    per_second: float | None = None  # mails per source address and provider group


Term = Literal["retry_schedule", "max_age", "tls"]
ScheduleFrom = Literal["policy", "project", "installation"]  # whose retry schedule counts


class PolicyUse(Value):
    """Which version of which policy decided one thing for a mail."""

    term: Term
    policy_id: str
    version: int


QueueKind = Literal["destination", "provider_group", "path"]


class QueuePause(Payload):
    """Key: `pause:{project}:{kind}:{name}`; a tombstone resumes. Such mail waits and keeps its status."""

    TYPE: ClassVar[str] = "table.queue_pause"
    project_id: str
    kind: QueueKind
    name: str
    reason: str | None
    by: str
    paused_at: Timestamp


class QueueFlush(Payload):
    """Key: `flush:{project}:{kind}:{name}`. What was deferred before `flushed_at` is due at once."""

    TYPE: ClassVar[str] = "table.queue_flush"
    project_id: str
    kind: QueueKind
    name: str
    by: str
    flushed_at: Timestamp


class Destination(Payload):
    """Key: destination. The provider group behind its MX, as a sender resolved it; the router admits by it."""

    TYPE: ClassVar[str] = "table.destination"
    destination: str
    provider_group: str  # a provider's name; the destination itself where nobody knows its provider
    mx_hosts: list[str]
    resolved_at_ms: int


class PathHealth(Payload):
    """Key: `{pool}:{instance}:{path}:{source address}:{provider group}`. What one sender saw, counted over a window."""

    TYPE: ClassVar[str] = "table.path_health"
    pool: str
    instance: str
    path: str
    source_address: str | None
    provider_group: str
    taken_at_ms: int
    window_ms: int
    delivered: int = 0
    deferred: int = 0  # temporary, whatever the reason
    bounced: int = 0  # permanent
    blocked: int = 0  # of those two: a block list or bad reputation
    throttled: int = 0  # of those two: too fast
    failed: int = 0  # of the deferred: no connection, or none that came as far as MAIL
    complaints: int = 0
    connections: int = 0  # open now
    limit: int = 0  # connections allowed now
    closed_until_ms: int | None = None  # nothing starts before
    evidence: str | None = None  # the reply that slowed it down


class SenderAlive(Payload):
    """Key: `{pool}:{instance}`. A sender's heartbeat, and the paths that it can take."""

    TYPE: ClassVar[str] = "table.sender_alive"
    pool: str
    instance: str
    at_ms: int
    paths: list[str]


ROUTES = by_type(Route)
UPSTREAMS = by_type(Upstream)
POLICIES = by_type(Policy)
QUEUE_CONTROLS = by_type(QueuePause, QueueFlush)
DESTINATIONS = by_type(Destination)
PATH_HEALTH = by_type(PathHealth, SenderAlive)
