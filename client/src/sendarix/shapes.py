"""The objects of the API, as types: what goes in and what comes out is plain JSON.

A server may add fields at any time, so nothing here is closed; what may be absent is `NotRequired`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, Required, TypedDict

Priority = Literal["critical", "high", "normal", "bulk"]
Moment = str | datetime  # RFC 3339, or a datetime with its offset


class Attachment(TypedDict, total=False):
    """`content` is base64: `sendarix.attachment` makes one of bytes."""

    filename: Required[str]
    content: Required[str]
    content_type: str
    content_id: str


# Not a class, for `from` is a word of the language.
Mail = TypedDict(
    "Mail",
    {
        "recipient": Required[str | Sequence[str]],
        "from": str,
        "subject": str,
        "text": str,
        "html": str,
        "reply_to": str | Sequence[str],
        "cc": str | Sequence[str],
        "bcc": str | Sequence[str],
        "template": str,
        "template_data": Mapping[str, Any],
        "headers": Mapping[str, str],
        "metadata": Mapping[str, str],
        "tags": Sequence[str],
        "attachments": Sequence[Attachment],
        "priority": Priority,
        "scheduled_time": Moment,
        "deliver_before": Moment,
        "on_unknown": Literal["resend", "hold"],
    },
    total=False,
)


class Warned(TypedDict):
    code: str
    message: str


class Addressed(TypedDict):
    """One of several recipients of one request: a message of its own."""

    message_id: str
    recipient: str
    role: str


class Sent(TypedDict):
    """A mail that was accepted: durably, not delivered yet."""

    message_id: str
    status: Literal["queued", "scheduled"]
    recipient: str
    created_at: str
    messages: NotRequired[list[Addressed]]
    warnings: NotRequired[list[Warned]]
    redrive_of: NotRequired[str]  # of a dead letter that is sent once more


class Fault(TypedDict):
    field: str
    code: str
    message: str
    line: NotRequired[int | None]
    variable: NotRequired[str | None]


class BatchEntry(TypedDict):
    """One mail of a batch: accepted, or refused with `error`."""

    index: int
    message_id: NotRequired[str]
    status: NotRequired[str]
    recipient: NotRequired[str]
    error: NotRequired[dict[str, str]]
    errors: NotRequired[list[Fault]]


class Batch(TypedDict):
    object: Literal["list"]
    batch_id: str
    data: list[BatchEntry]


class Redriven(BatchEntry):
    """One dead letter of many: sent once more, or refused with `error`."""

    redrive_of: str


class Redrives(TypedDict):
    object: Literal["list"]
    batch_id: str
    data: list[Redriven]


class Delivery(TypedDict):
    """How the last attempt ended."""

    code: int | None
    enhanced_code: str | None
    category: str
    reply: str | None


class Event(TypedDict):
    """The same in Kafka, in a webhook and here."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    projectid: str
    sequence: int
    data: dict[str, Any]
    datacontenttype: NotRequired[str]
    dataschema: NotRequired[str]


# A message just accepted may have no more than its id, status and time yet: `pending` says so.
Message = TypedDict(
    "Message",
    {
        "message_id": Required[str],
        "status": Required[str],
        "created_at": Required[str],
        "recipient": str,
        "from": str | None,
        "subject": str | None,
        "tags": list[str],
        "metadata": dict[str, str],
        "template": str | None,
        "channel": str | None,
        "path": str | None,
        "environment": str | None,
        "updated_at": str,
        "scheduled_time": str | None,
        "attempts": int,
        "next_attempt_at": str | None,
        "reason": str | None,
        "outcome": Delivery | None,
        "timeline": list[Event],
        "pending": bool,
    },
    total=False,
)


class Decision(TypedDict):
    """`rule` and `version` name what decided, where something with a name did."""

    at: str
    kind: str
    event_id: str
    rule: str | None
    version: int | None
    text: str
    details: dict[str, Any]


class Waiting(TypedDict):
    """`next_attempt_at`: when it goes, or since when it might; None where it waits for a person."""

    reason: str
    next_attempt_at: str | None
    text: str


class Explanation(TypedDict):
    message_id: str
    status: str
    waiting: Waiting | None
    decisions: list[Decision]


class MessageFilters(TypedDict, total=False):
    """What `messages.list` may be asked for. `from_` is the sender."""

    status: str
    recipient: str
    recipient_domain: str
    from_: str
    subject: str
    tag: str
    template: str
    metadata: Mapping[str, str]
    path: str
    error_category: str
    channel: str
    since: Moment
    until: Moment
    limit: int


# `publish`: whether it is sent from now on; a new template is, a new version of one is not, unless it is said here.
NewTemplate = TypedDict(
    "NewTemplate", {"name": str, "subject": str, "text": str, "html": str, "from": str, "publish": bool}, total=False
)
Template = TypedDict(
    "Template",
    {
        "id": Required[str],
        "name": Required[str],
        "subject": str | None,
        "text": str | None,
        "html": str | None,
        "from": str | None,
        "version": int,
        "published_version": Required[int | None],
        "latest_version": Required[int],
        "created_at": Required[str],
        "updated_at": Required[str],
    },
    total=False,
)


class Validity(TypedDict):
    """`errors` is empty where `valid`; `variables` are those that a mail has to give."""

    valid: bool
    variables: list[str]
    errors: list[Fault]


class Rendered(TypedDict, total=False):
    version: int
    subject: str | None
    text: str | None
    html: str | None


class Suppression(TypedDict):
    id: str
    recipient: str
    reason: str
    origin: str
    source_event_id: str | None
    created_at: str
    tag: NotRequired[str | None]


class SuppressionFilters(TypedDict, total=False):
    """`search` is a part of the address; `tag` is a tag, or `*` for what holds for the whole project."""

    search: str
    reason: str
    origin: str
    tag: str
    limit: int


class DomainRecord(TypedDict):
    """What to publish in DNS, and how it stood at the last look; `found` is what stands in its place."""

    purpose: Literal["dkim", "spf", "return_path", "dmarc"]
    type: str
    name: str
    value: str
    required: bool
    status: Literal["pending", "found", "missing", "wrong", "unknown"]
    found: list[str]


class Domain(TypedDict):
    id: str
    domain: str
    status: Literal["verified", "unverified"]
    verified_at: str | None
    checked_at: str | None
    return_path: str | None
    records: list[DomainRecord]
    created_at: str


class Webhook(TypedDict):
    """`secret` is there once, in the answer to `create` and to `rotate_secret`."""

    id: str
    url: str
    events: list[str]
    tags: list[str]
    description: str | None
    disabled: bool
    disabled_at: str | None
    disabled_reason: Literal["owner", "gone", "failing"] | None
    rate_per_second: float | None
    old_secrets_until: list[str]
    created_at: str
    secret: NotRequired[str]


class NewWebhook(TypedDict, total=False):
    url: str
    events: Sequence[str]
    tags: Sequence[str]
    description: str | None
    disabled: bool
    rate_per_second: float | None


class WebhookTest(TypedDict):
    """What came of it is among the attempts, under `event_id`."""

    object: Literal["webhook_test"]
    webhook_id: str
    event_id: str


class WebhookReplay(TypedDict):
    """`since` and `until` are None where one event is replayed. `reason` says why it failed."""

    object: Literal["replay"]
    id: str
    endpoint_id: str
    status: Literal["queued", "running", "done", "failed"]
    reason: str | None
    event_id: str | None
    since: str | None
    until: str | None
    event_types: list[str]
    only_failed: bool
    matched: int
    queued: int
    created_at: str
    finished_at: str | None


class WebhookAttempt(TypedDict):
    """One call of a webhook. `response` is at most 16 kB of what it answered."""

    id: str
    delivery_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    attempt: int
    at: str
    duration_ms: int
    outcome: Literal["succeeded", "failed", "exhausted"]
    status_code: int | None
    error: str | None
    response: str | None
    next_attempt_at: str | None
    cause: Literal["event", "test", "replay"]
    replay_id: str | None


class ApiKey(TypedDict):
    """`key` is there once, in the answer to `create` and to `rotate`."""

    id: str
    name: str
    environment: Literal["live", "test"]
    scopes: list[str]
    created_at: str
    from_domains: NotRequired[list[str]]
    networks: NotRequired[list[str]]
    expires_at: NotRequired[str | None]
    revoked_at: NotRequired[str | None]
    last_used_at: NotRequired[str | None]
    key: NotRequired[str]


class NewApiKey(TypedDict, total=False):
    name: Required[str]
    environment: Required[Literal["live", "test"]]
    scopes: Sequence[str]
    from_domains: Sequence[str]
    networks: Sequence[str]
    expires_at: Moment
    project_id: str


class OpenMessages(TypedDict):
    """Of what was accepted in an hour, what is not over."""

    scheduled: int
    waiting: int
    held: int
    in_flight: int


class LedgerSide(TypedDict):
    """`queued` is what the others and all of `open` make together."""

    queued: int
    delivered: int
    bounced: int
    suppressed: int
    cancelled: int
    expired: int
    open: OpenMessages


class LedgerHour(LedgerSide):
    """An hour of acceptance: what the read side says, what the log says, and how many messages they have otherwise."""

    hour: str
    log: LedgerSide
    missing: int
    drift: int


class Ledger(TypedDict):
    object: Literal["ledger"]
    data: list[LedgerHour]


MetricsInterval = Literal["minute", "hour", "day", "total"]


class MetricsFilters(TypedDict, total=False):
    recipient_domain: str
    provider_group: str
    tag: str
    template: str
    channel: Literal["api", "batch"]
    path: str
    error_category: str
    priority: Literal["critical", "high", "normal", "bulk"]
    environment: Literal["live", "test"]


class Percentiles(TypedDict):
    """Milliseconds; null where there is nothing to measure."""

    p50: int | None
    p95: int | None
    p99: int | None


class MetricsRow(TypedDict):
    """One interval of one group: messages to which each kind of event happened. Rates are null out of nothing."""

    time: str
    group: dict[str, str | None]
    queued: int
    accepted: int
    delivered: int
    deferred: int
    bounced: int
    suppressed: int
    cancelled: int
    expired: int
    unknown: int
    complained: int
    unsubscribed: int
    delivery_rate: float | None
    bounce_rate: float | None
    complaint_rate: float | None
    deferral_rate: float | None
    first_attempt_ms: Percentiles
    delivered_ms: Percentiles


class MetricsAnswer(TypedDict):
    object: Literal["metrics"]
    since: str
    until: str
    interval: MetricsInterval
    time_zone: str
    group_by: list[str]
    behind_ms: int
    data: list[MetricsRow]


class DeadLetterFilters(TypedDict, total=False):
    """`since` and `until` are of the failure; `redriven`: whether it was sent once more."""

    category: str
    recipient_domain: str
    template: str
    tag: str
    path: str
    environment: Literal["live", "test"]
    redriven: bool
    since: Moment
    until: Moment


class DeadLetter(TypedDict):
    """A message that failed for good. `cause` is refused, last_attempt, max_age, feedback or expired."""

    message_id: str
    recipient: str
    environment: str
    category: str | None
    code: int | None
    enhanced_code: str | None
    reply: str | None
    path: str | None
    mx_host: str | None
    template: str | None
    tags: list[str]
    attempts: int
    created_at: str
    failed_at: str
    cause: str
    redriven_as: list[str]


class DeadLetterCause(TypedDict):
    category: str | None
    enhanced_code: str | None
    recipient_domain: str


class DeadLetterSample(TypedDict):
    message_id: str
    reply: str | None


class DeadLetterGroup(TypedDict):
    cause: DeadLetterCause
    messages: int
    first_at: str
    last_at: str
    sample: DeadLetterSample


class AlertFilters(TypedDict, total=False):
    """Which messages are measured; of live keys, where nothing else is said."""

    tag: str | None
    template: str | None
    recipient_domain: str | None
    provider_group: str | None
    channel: Literal["api", "batch"] | None
    path: str | None
    priority: Priority | None
    environment: Literal["live", "test"]


class AlertCondition(TypedDict, total=False):
    """One of `above`, `below` and `times`; that many times what the `baseline_seconds` before the window had."""

    above: float
    below: float
    times: float
    baseline_seconds: int


class AlertSettings(TypedDict, total=False):
    """`measure`: queued, delivered, deferred, bounced, complained, unknown, expired, suppressed, or one of the rates."""

    name: str
    measure: str
    filters: AlertFilters
    window_seconds: int
    condition: AlertCondition
    minimum: int
    enabled: bool


# What a test key sent, as a mailbox would hold it; content and `raw` (the bytes as they were) only where one is asked for.
SandboxMail = TypedDict(
    "SandboxMail",
    {
        "message_id": Required[str],
        "recipient": Required[str],
        "from": Required[str],
        "subject": Required[str | None],
        "outcome": Required[str],
        "attempt": Required[int],
        "size": Required[int],
        "truncated": Required[bool],
        "received_at": Required[str],
        "headers": list[dict[str, str]],
        "text": str | None,
        "html": str | None,
        "attachments": list[dict[str, Any]],
        "raw": str | None,
    },
    total=False,
)

Tls = Literal["opportunistic", "required"]


class Versioned(TypedDict):
    """What routes, upstreams and policies say of themselves; `project_id` is null where it is the whole installation's."""

    id: str
    project_id: str | None
    name: str
    version: int
    created_at: str
    updated_at: str
    updated_by: str
    undoable: bool


Tier = Literal["critical", "high", "normal", "bulk"]


class Alert(Versioned):
    """`state` is unknown where nobody has looked yet, it is off, or there are too few messages to say."""

    measure: str
    filters: AlertFilters
    window_seconds: int
    condition: AlertCondition
    minimum: int
    enabled: bool
    state: Literal["ok", "raised", "unknown"]
    since: str | None
    value: float | None
    evaluated_at: str | None


class RouteMatch(TypedDict, total=False):
    recipient_domains: Sequence[str]
    provider_groups: Sequence[str]
    from_domains: Sequence[str]
    tags: Sequence[str]
    priorities: Sequence[Tier]


class WeightedPath(TypedDict):
    path: str
    weight: NotRequired[int]


class RouteSettings(TypedDict, total=False):
    name: str
    position: int
    match: RouteMatch
    paths: Sequence[str | WeightedPath]
    fallback: Sequence[str]
    tls: Tls | None


class Route(Versioned):
    position: int
    match: RouteMatch
    paths: list[WeightedPath]
    fallback: list[str]
    tls: Tls | None


class RouteExplanation(TypedDict):
    """Which rule fits, which paths it has, and how such mail is shared out among them now."""

    destination: str
    provider_group: str
    rule: dict[str, Any] | None
    considered: list[dict[str, Any]]
    paths: list[dict[str, Any]]
    chosen_first: str | None
    waits: dict[str, Any] | None
    policy: dict[str, Any]


class UpstreamSettings(TypedDict, total=False):
    """A `preset` (gmail, outlook, office365, yahoo, sendgrid), or a `host`."""

    name: str
    preset: str | None
    host: str
    port: int
    tls: Tls
    username: str | None
    password: str | None
    pool: str
    connections: int
    messages_per_connection: int
    per_second: float | None


class Upstream(Versioned):
    """Whether there is a password, never which."""

    preset: str | None
    host: str
    port: int
    tls: Tls
    username: str | None
    password_set: bool
    pool: str
    connections: int
    messages_per_connection: int
    per_second: float | None


class PolicySettings(TypedDict, total=False):
    """Durations as `30s`, `5m`, `2h`."""

    name: str
    provider_groups: Sequence[str]
    recipient_domains: Sequence[str]
    tags: Sequence[str]
    retry_schedule: Sequence[str] | None
    max_age: str | None
    tls: Tls | None
    connections: int | None
    messages_per_connection: int | None
    per_second: float | None


class Policy(Versioned):
    provider_groups: list[str]
    recipient_domains: list[str]
    tags: list[str]
    retry_schedule: list[str] | None
    max_age: str | None
    tls: Tls | None
    connections: int | None
    messages_per_connection: int | None
    per_second: float | None


QueueKind = Literal["destination", "provider_group", "path"]


class QueueFilters(TypedDict, total=False):
    kind: QueueKind
    destination: str
    provider_group: str
    lane: Literal["express", "standard"]
    limit: int


class Queue(TypedDict):
    """`waiting` and `in_flight` are null for a path; `pauses` are those that stop it."""

    kind: QueueKind
    name: str
    provider_group: str | None
    waiting: int | None
    in_flight: int | None
    oldest_at: str | None
    next_attempt_at: str | None
    reason: str | None
    paused: bool
    pauses: list[dict[str, Any]]
