"""The claim log of Idempotency-Key: the first live claim of a key in log order wins (architecture, "claim by log")."""

from typing import ClassVar

from pydantic import Field

from schemas.envelope import Payload, by_type
from schemas.mail import Environment, Value


class ClaimedItem(Value):
    """What was decided of one item of a batch; those that were refused are not among them."""

    index: int
    message_ids: list[str]
    from_: str
    unsubscribe_scope: str | None = None
    template_id: str | None = None
    template_version: int | None = None
    redrive_of: str | None = None  # of a re-drive: whose content it has


class Claim(Payload):
    """Key: project:key. Holds all that a loser needs to answer, and to submit, exactly as the winner would."""

    TYPE: ClassVar[str] = "idempotency.claim"
    claim_id: str
    fingerprint: str  # SHA-256 hex of method, path and canonical body
    answer: str  # the complete 202 body, byte for byte
    message_ids: list[str]
    submission_id: str
    created_at_ms: int
    from_: str  # resolved at acceptance: present tables are never asked again
    environment: Environment  # of the winner's key: a helper may hold another key of the project
    api_key_id: str
    valid_until_ms: int  # broker time: a claim that landed later is void
    unsubscribe_scope: str | None = None  # of its one-click links: a tag, or "*"; null: it has none
    template_id: str | None = None  # and not its name: another template may have that by now
    template_version: int | None = None  # resolved at acceptance
    request_id: str | None = None  # of the first request
    # Of a batch: what else would stand above, for each item that was accepted; `from_` is the first one's.
    items: list[ClaimedItem] = Field(default_factory=list)


class Done(Payload):
    """The winner's submissions are in the log."""

    TYPE: ClassVar[str] = "idempotency.done"
    claim_id: str


IDEMPOTENCY = by_type(Claim, Done)
