"""Mail of test keys: what the sandbox took instead of a mail server."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.envelope import Payload, Timestamp, by_type

# The domain whose addresses say what becomes of a mail. `.test` is reserved: nobody can ever register it (RFC 6761).
SANDBOX_DOMAIN = "sandbox.sendarix.test"


class SandboxMail(Payload):
    """One mail as it would have gone over the wire."""

    TYPE: ClassVar[str] = "sandbox.mail"
    message_id: str
    recipient: str
    attempt: int
    from_: Annotated[str, Field(alias="from")]
    subject: str
    outcome: Literal["delivered", "unknown"]
    taken_at: Timestamp
    size: int  # bytes of the mail
    mime: str | None  # byte for byte (it is UTF-8); null where it is too large for the log
    truncated: bool  # whether `mime` was left out for that


SANDBOX_MAILS = by_type(SandboxMail)
