"""The words every mail record shares: addresses, priorities, content, the facts of one attempt.

Plain values: this module must never hold a rule about what happens to a message.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.envelope import Timestamp

Environment = Literal["live", "test"]
# An order within a lane: critical before high on express, normal before bulk on standard.
Priority = Literal["critical", "high", "normal", "bulk"]
Lane = Literal["express", "standard"]
Channel = Literal["api", "batch"]
OnUnknown = Literal["resend", "hold"]
Status = Literal[
    "queued",
    "scheduled",
    "accepted",
    "deferred",
    "unknown",
    "held",
    "delivered",
    "bounced",
    "suppressed",
    "cancelled",
    "expired",
]
TERMINAL: frozenset[Status] = frozenset({"delivered", "bounced", "suppressed", "cancelled", "expired"})
# Where in the SMTP conversation an attempt ended (RFC 5321); `reply` is after the final dot, waiting for its answer.
Phase = Literal["connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "reply"]
# opportunistic: encrypt where it is offered, with any certificate; required: encrypted and verified, or not at all.
Tls = Literal["opportunistic", "required"]
# Why a message waits. A closed list.
WaitReason = Literal[
    "admission",
    "retry_ladder",
    "greylisted",
    "postponed",
    "destination_paused",
    "path_paused",
    "scheduled",
    "held_unknown",
    "held_policy",
    "internal_error",
]
Category = Literal[
    "delivered",  # 2xx after the dot
    "invalid_recipient",  # proof about the recipient
    "mailbox_disabled",  # proof, too: it is there, and takes no mail for good
    "domain_not_found",  # proof, too: the domain has no mail
    "mailbox_full",
    "message_too_large",
    "content_rejected",  # how the mail is built, or what is in it
    "spam_blocked",  # taken for spam
    "ip_blocked",  # a block list or bad reputation: our address, our network, our domain
    "auth_failed",  # who we say we are: SPF, DKIM, DMARC, reverse DNS, TLS
    "relay_denied",  # the server does not take mail for this domain from us
    "throttled",  # too much at once
    "greylisted",  # a first try that has to be repeated
    "rejected",  # 5xx that is no proof about the recipient
    "transient",  # 4xx
    "no_answer",  # could not connect, time-out or disconnect before the dot
    "protocol_error",  # a reply that is not SMTP
    "unknown",  # the reply after the dot was lost, or the sender died
]
# Proof about the recipient: a permanent outcome of these puts the address on the suppression list.
DEAD_RECIPIENT: frozenset[Category] = frozenset({"invalid_recipient", "mailbox_disabled", "domain_not_found"})

LANE_OF: dict[Priority, Lane] = {"critical": "express", "high": "express", "normal": "standard", "bulk": "standard"}


class Value(BaseModel):
    """A nested value of a record: frozen, open to fields it does not know yet."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Attachment(Value):
    """A file with the mail; with a `content_id` it is shown within the HTML, by `cid:`."""

    filename: str
    content_type: str
    content: str  # base64
    content_id: str | None = None


class Blob(Value):
    """Where large content lies: in object storage, as the JSON of a Content. Never shared between requests."""

    key: str  # {delete-after day}/{submission id}/{sha256}
    sha256: str  # hex, of the bytes as stored
    size: int  # bytes as stored


class Content(Value):
    """What the mail says. Header values hold no CR, LF or NUL; text and html are Unicode, any line ends.

    With a `blob`, that has the text, the html and the attachments, and they are left out here.
    """

    from_: Annotated[str, Field(alias="from")]  # "a@b" or "Name <a@b>", as it stands in the header
    to: list[str]  # the To header: every `recipient` of the request
    cc: list[str] = []
    reply_to: list[str] = []
    subject: str
    text: str | None = None
    html: str | None = None
    headers: dict[str, str] = {}
    attachments: list[Attachment] = []
    list_unsubscribe: str | None = None  # the recipient's own one-click link (RFC 8058)
    blob: Blob | None = None


class Attempt(Value):
    """One delivery attempt as people see it (events, timeline)."""

    number: int
    started_at: Timestamp
    finished_at: Timestamp
    path: str  # `upstream`, an upstream's id, `mx:<pool>`, `sandbox`
    source_address: str | None = None
    mx_host: str | None = None
    mx_address: str | None = None
    tls: str | None = None  # protocol and cipher, null in the clear
    phase: Phase
    reply: str | None = None  # the server's own words, at most 4 kB
    code: int | None = None  # SMTP reply code
    enhanced_code: str | None = None  # RFC 3463, "5.1.1"
