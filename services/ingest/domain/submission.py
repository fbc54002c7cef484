"""What may be in the body of `POST /messages`: raw JSON in, a `Submission` or all of its faults out.

Pure and deterministic: a helper that reads the same body later gets the same submission. It must never look at a
table, so defaults (the project's `from`) and permissions come after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from schemas.mail import Attachment, OnUnknown, Priority
from services.ingest.domain.addresses import Address
from services.ingest.domain.attachments import octets_of, read_attachments
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS, forbidden_in_body
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.fields import faults_of_names, read_tags, shown
from services.ingest.domain.header_fields import MAX_LINE_OCTETS, header_faults
from services.ingest.domain.json_parts import check_parts
from services.ingest.domain.recipients import Role, names_several, read_address, read_recipients, read_reply_to
from services.ingest.domain.template_requests import TemplateUse, read_use
from services.ingest.domain.times import Times, read_on_unknown, read_times

MAX_METADATA = 50
MAX_METADATA_KEY = 40
MAX_METADATA_VALUE = 500
# Of text, html and attachments as JSON: larger content goes to object storage, and its records say where (R5).
INLINE_OCTETS = 128 * 1024
# Of all records of one request together, which are one batch of at most 8 MiB: half, for metadata and headers.
INLINE_TOGETHER_OCTETS = 4 * 1024 * 1024
_SCAN_CHARACTERS = 1024 * 1024  # of a body looked through at once: others get their turn in between

FIELDS = frozenset(
    {"recipient", "to", "from", "subject", "text", "html", "headers", "metadata", "tags", "priority", "reply_to"}
    | {"scheduled_time", "deliver_before", "on_unknown", "cc", "bcc", "attachments", "template", "template_data"}
)
UNSUPPORTED: frozenset[str] = frozenset()

_PRIORITIES = frozenset(get_args(Priority))


@dataclass(frozen=True, slots=True)
class Redrive:
    """What a mail that is sent once more keeps of the message that failed, beside its content."""

    of: str  # its id
    to: tuple[str, ...]  # what its header says: the other recipients of that request are no recipients of this one
    cc: tuple[str, ...]
    template_version: int | None


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to send, free of faults. `from_` is None where the project's default is to be used."""

    recipients: tuple[Address, ...]  # of the envelope: to, cc and bcc, in this order
    roles: tuple[Role, ...]  # of each of them
    several: bool  # whether `recipient` was a list, or copies go out: the answer has a list, too
    from_: Address | None
    reply_to: tuple[Address, ...]
    subject: str
    text: str | None
    html: str | None
    headers: dict[str, str]
    metadata: dict[str, str]
    tags: tuple[str, ...]
    priority: Priority
    size: int  # bytes of subject, text, html, headers and the attached files
    times: Times
    on_unknown: OnUnknown
    attachments: tuple[Attachment, ...]
    template: TemplateUse | None  # it makes text and html, and the subject where that is empty
    made_from: str | None = None  # the name of that template, once it has
    redrive: Redrive | None = None

    def addresses(self, role: Role) -> list[str]:
        """Of the recipients in this role, as they stand in a header."""
        if self.redrive is not None:
            return list(self.redrive.to if role == "to" else self.redrive.cc if role == "cc" else ())
        if role not in self.roles:
            return []
        return [address.header for address, has in zip(self.recipients, self.roles, strict=True) if has == role]

    def travels_apart(self) -> bool:
        """Whether its text, html and attachments are too large for Kafka. The same for whoever reads the same body."""
        limit = min(INLINE_OCTETS, INLINE_TOGETHER_OCTETS // len(self.recipients))
        if 2 * self.size <= limit:  # neither base64 nor JSON doubles it
            return False
        return self.size > limit or len(self._body_json()) > limit

    def record_octets(self) -> int:
        """What each recipient's record repeats, about as it is encoded."""
        addresses = [self.addresses("to"), self.addresses("cc"), [address.header for address in self.reply_to]]
        shared = orjson.dumps([addresses, self.subject, self.headers, self.metadata, self.tags])
        return len(shared) + (0 if self.travels_apart() else len(self._body_json()))

    def room_octets(self) -> int:
        """What each recipient's record takes up in a batch of Kafka's: with envelope, ids, headers and address."""
        return self.record_octets() + 2048

    def _body_json(self) -> bytes:
        return orjson.dumps([self.text, self.html, [attachment.content for attachment in self.attachments]])


def parse_object(raw: bytes | bytearray) -> dict[str, Any]:
    """The body as a JSON object. Raises Refused (400, 413)."""
    check_parts(raw)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_json", f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise Refused("invalid_json", "The body is JSON, but not an object.")
    return body


def read_submission(body: Mapping[str, Any], earlier: Sequence[Fault] = ()) -> Submission:
    """Validate `body`. Raises Refused (422) with every fault, `earlier` ones first."""
    faults = [*earlier, *faults_of_names(body, FIELDS, UNSUPPORTED)]
    recipients = read_recipients(body, faults)
    from_ = read_address(body, "from", faults)
    reply_to = read_reply_to(body, faults)
    template = read_use(body, faults)
    subject = _subject(body, faults)
    text, html = _body_part(body, "text", faults), _body_part(body, "html", faults)
    missing = not text and not html and body.get("template") is None
    if missing and not any(fault.field in {"text", "html"} for fault in faults):
        faults.append(Fault("text", "required", "Give `text`, `html` or both."))
    headers = _string_map(body, "headers", faults)
    faults += header_faults(headers, reply_to_given=bool(reply_to))
    metadata = _metadata(body, faults)
    tags = read_tags(body.get("tags"), faults)
    priority = _priority(body, faults)
    times, on_unknown = read_times(body, faults), read_on_unknown(body, faults)
    attachments = read_attachments(body.get("attachments"), faults)
    if faults:
        raise invalid(faults)
    size = len(subject.encode()) + sum(len(part.encode()) for part in (text, html) if part)
    size += sum(len(name) + len(value.encode()) for name, value in headers.items())
    size += sum(octets_of(attachment) for attachment in attachments)
    return Submission(
        tuple(recipient.address for recipient in recipients), tuple(recipient.role for recipient in recipients),
        names_several(body), from_, reply_to, subject, text, html, headers, metadata, tags, priority, size,
        times, on_unknown, attachments, template,
    )  # fmt: skip


def check_batch_fits(submission: Submission, max_bytes: int) -> None:
    """All messages of a request go out as one batch of at most `max_bytes`, or none does. Raises Refused (413)."""
    if len(submission.recipients) * submission.room_octets() > max_bytes:
        message = "All recipients of a request go out together; headers and metadata are too large for so many."
        raise Refused("payload_too_large", message)


def _subject(body: Mapping[str, Any], faults: list[Fault]) -> str:
    value = body.get("subject")
    if value is None or value == "":
        if body.get("template") is not None:
            return ""
        faults.append(Fault("subject", "required", "Give a subject."))
    elif not isinstance(value, str):
        faults.append(Fault("subject", "invalid_type", "A subject is a string."))
    elif FORBIDDEN_IN_HEADERS.search(value):
        faults.append(Fault("subject", "forbidden_characters", "A subject is one line without control characters."))
    elif len(value.encode()) > MAX_LINE_OCTETS:
        faults.append(Fault("subject", "too_long", f"A subject has at most {MAX_LINE_OCTETS} bytes."))
    else:
        return value
    return ""


def _body_part(body: Mapping[str, Any], field: str, faults: list[Fault]) -> str | None:
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        faults.append(Fault(field, "invalid_type", f"`{field}` is a string."))
    elif any(forbidden_in_body(value[at : at + _SCAN_CHARACTERS]) for at in range(0, len(value), _SCAN_CHARACTERS)):
        message = "It holds NUL or another control character; only line breaks and tabs may stand in a body."
        faults.append(Fault(field, "forbidden_characters", message))
    else:
        return value
    return None


def _string_map(body: Mapping[str, Any], field: str, faults: list[Fault]) -> dict[str, Any]:
    """The member as an object; its values are judged by the caller."""
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(Fault(field, "invalid_type", f"`{field}` is an object of strings."))
        return {}
    return value


def _metadata(body: Mapping[str, Any], faults: list[Fault]) -> dict[str, str]:
    value = _string_map(body, "metadata", faults)
    if len(value) > MAX_METADATA:
        faults.append(Fault("metadata", "too_many", f"There may be {MAX_METADATA} entries."))
        return {}
    for name, item in value.items():
        if (fault := _metadata_fault(name, item)) is not None:
            faults.append(Fault(f"metadata.{shown(name)}", *fault))
    return value


def _metadata_fault(name: str, value: Any) -> tuple[str, str] | None:
    if not 0 < len(name) <= MAX_METADATA_KEY:
        return "invalid_key", f"A key has 1 to {MAX_METADATA_KEY} characters."
    if not isinstance(value, str):
        return "invalid_type", "A value is a string."
    if len(value) > MAX_METADATA_VALUE:
        return "too_long", f"A value has at most {MAX_METADATA_VALUE} characters."
    if FORBIDDEN_IN_HEADERS.search(name) or FORBIDDEN_IN_HEADERS.search(value):
        return "forbidden_characters", "Keys and values hold no control characters or line breaks."
    return None


def _priority(body: Mapping[str, Any], faults: list[Fault]) -> Priority:
    value = body.get("priority")
    if value is None:
        return "normal"
    if not isinstance(value, str) or value not in _PRIORITIES:
        faults.append(Fault("priority", "invalid_value", "A priority is critical, high, normal or bulk."))
        return "normal"
    priority: Priority = value  # type: ignore[assignment]  # it is in the Literal: checked in the line above
    return priority
