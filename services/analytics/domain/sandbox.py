"""The sandbox's inbox: mails of test keys as rows, as a list, and one of them taken apart (R13).

Pure. What is shown of a mail is read from its bytes, as a mail program would: it must never be put together from fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple

from schemas.envelope import to_ms, to_timestamp
from schemas.sandbox import SandboxMail
from services.analytics.domain.answers import Json
from services.analytics.domain.cursors import fingerprint, read_message_cursor
from services.analytics.domain.parameters import Parameters, Reader, text_value
from services.analytics.domain.rows import Position, address_of

_POLICY = SMTP.clone(max_line_length=998, raise_on_defect=False)


class SandboxRow(NamedTuple):
    """One mail. `taken_at` is Unix ms; `mime` is "" where it was left out (`truncated`), or is not asked for."""

    position: Position
    project_id: str
    message_id: str
    taken_at: int
    recipient: str
    mail_from: str
    mail_subject: str
    attempt: int
    outcome: str
    size: int
    truncated: bool
    mime: str

    @property
    def time_ms(self) -> int:
        return self.taken_at


@dataclass(frozen=True, slots=True)
class SandboxQuery:
    recipient: str | None
    limit: int
    after: str | None  # a message id

    @property
    def fingerprint(self) -> str:
        return fingerprint(repr(self.recipient))


def sandbox_row(data: SandboxMail, project_id: str, position: Position) -> SandboxRow:
    """Raises ValueError where it has no place."""
    return SandboxRow(
        position=position,
        project_id=project_id,
        message_id=data.message_id,
        taken_at=to_ms(data.taken_at),
        recipient=data.recipient,
        mail_from=data.from_,
        mail_subject=data.subject,
        attempt=data.attempt,
        outcome=data.outcome,
        size=data.size,
        truncated=data.truncated,
        mime=data.mime or "",
    )


def sandbox_query(parameters: Parameters) -> SandboxQuery:
    """`GET /v1/sandbox/messages`. Raises InvalidQuery."""
    reader = Reader(parameters)
    recipient, limit = reader.take("recipient", lambda text: address_of(text_value(text))), reader.limit()
    query = SandboxQuery(recipient, limit, None)
    after = reader.after(lambda text: read_message_cursor(text, query.fingerprint))
    reader.finish()
    return replace(query, after=after)


def mail_view(mail: SandboxRow) -> Json:
    """A mail in a list."""
    return {
        "message_id": mail.message_id,
        "recipient": mail.recipient,
        "from": mail.mail_from,
        "subject": mail.mail_subject,
        "outcome": mail.outcome,
        "attempt": mail.attempt,
        "size": mail.size,
        "truncated": mail.truncated,
        "received_at": to_timestamp(mail.taken_at),
    }


def mail_with_content(mail: SandboxRow) -> Json:
    """One mail: its header fields in their order, its bodies, the names of its files, and its bytes as they were."""
    if mail.truncated:
        return {**mail_view(mail), "headers": [], "text": None, "html": None, "attachments": [], "raw": None}
    parsed = message_from_bytes(mail.mime.encode(), policy=_POLICY)
    return {
        **mail_view(mail),
        "headers": [{"name": name, "value": str(value)} for name, value in parsed.items()],
        "text": _body(parsed, "plain"),
        "html": _body(parsed, "html"),
        "attachments": _attachments(parsed),
        "raw": mail.mime,
    }


def _body(mail: EmailMessage, subtype: str) -> str | None:
    part = mail.get_body((subtype,))
    return None if part is None else str(part.get_content())


def _attachments(mail: EmailMessage) -> Sequence[Json]:
    return [
        {
            "filename": part.get_filename(),
            "content_type": part.get_content_type(),
            "content_id": part["Content-ID"],
            "size": len(part.get_payload(decode=True) or b""),
        }
        for part in mail.walk()
        if not part.is_multipart() and (part.get_filename() is not None or part["Content-ID"] is not None)
    ]
