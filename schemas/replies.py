"""The router's verdicts on commands, for the ingest replica whose client waits (architecture: cancel by input and reply)."""

from typing import ClassVar, Literal

from schemas.envelope import Payload, by_type
from schemas.mail import Status


class Verdict(Payload):
    """Key: the ingest instance. `refused` says why in `reason`: being_sent, already_sent, not_scheduled, not_held …"""

    TYPE: ClassVar[str] = "reply.verdict"
    request_id: str
    message_id: str
    verdict: Literal["done", "refused", "unknown_message"]
    status: Status | None  # the message's, after the command
    sequence: int  # of its last event: whoever reads the projection can tell whether it has seen this
    reason: str | None
    scheduled_ms: int | None = None


REPLIES = by_type(Verdict)
