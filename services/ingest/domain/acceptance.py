"""From a submission to what is written of it: the inputs for the router, the answer, and the claim that holds both.

The winner of a claim and everyone who helps it call the same functions with the same values, so a message has one
content whoever writes it. It must never know a table or a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from chassis.ids import parse_message_id
from schemas.envelope import to_timestamp
from schemas.idempotency import Claim, ClaimedItem
from schemas.inputs import Submit
from schemas.mail import Blob, Channel, Content, Environment, Lane
from services.ingest.domain.attachments import WARN_OCTETS, octets_of
from services.ingest.domain.submission import Submission


@dataclass(frozen=True, slots=True)
class Pinned:
    """The version of a template that a mail is made from, whatever is published later."""

    template_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was decided once, at the first acceptance, and is never decided again."""

    message_ids: tuple[str, ...]
    submission_id: str
    created_at_ms: int
    from_: str  # header form, the project's default resolved
    environment: Environment
    api_key_id: str
    unsubscribe_scope: str | None = None  # what its one-click links are for: a tag, or "*"; None: it has none
    template: Pinned | None = None
    channel: Channel = "api"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where all messages of one request go."""

    lane: Lane
    partition: int


def answer_of(submission: Submission, accepted: Accepted) -> bytes:
    """The body of the 202 to one mail."""
    shown = accepted_shown(submission, accepted)
    return orjson.dumps({**shown, "created_at": to_timestamp(accepted.created_at_ms)})


def accepted_shown(submission: Submission, accepted: Accepted) -> dict[str, object]:
    """A mail that was accepted, alone or in a batch."""
    shown: dict[str, object] = {
        "message_id": accepted.message_ids[0],
        "status": "scheduled" if submission.times.waits(accepted.created_at_ms) else "queued",
        "recipient": submission.recipients[0].envelope,
    }
    if submission.several:
        shown["messages"] = [
            {"message_id": message_id, "recipient": address.envelope, "role": role}
            for message_id, address, role in zip(
                accepted.message_ids, submission.recipients, submission.roles, strict=True
            )
        ]
    if submission.redrive is not None:
        shown["redrive_of"] = submission.redrive.of
    if warnings := warnings_of(submission):
        shown["warnings"] = warnings
    return shown


def warnings_of(submission: Submission) -> list[dict[str, str]]:
    """What was accepted, and yet may not go well."""
    if sum(octets_of(attachment) for attachment in submission.attachments) <= WARN_OCTETS:
        return []
    message = (
        "The attachments have more than 25 MiB: many mailboxes refuse that. Send a signed link to the file instead."
    )
    return [{"code": "large_attachments", "message": message}]


def content_of(submission: Submission, accepted: Accepted) -> Content:
    """All that the mail says."""
    return Content(
        from_=accepted.from_,
        to=submission.addresses("to"),
        cc=submission.addresses("cc"),
        reply_to=[address.header for address in submission.reply_to],
        subject=submission.subject,
        text=submission.text,
        html=submission.html,
        headers=submission.headers,
        attachments=list(submission.attachments),
    )


def submits_of(
    submission: Submission, accepted: Accepted, *, valid_until_ms: int, blob: Blob | None = None
) -> list[Submit]:
    """One input per recipient; `valid_until_ms` is broker time, of the request that writes them.

    `blob` is where the text, the html and the attachments lie already, if they do not travel in here.
    """
    content = content_of(submission, accepted)
    if blob is not None:
        content = content.model_copy(update={"text": None, "html": None, "attachments": [], "blob": blob})
    return [
        Submit(
            message_id=message_id,
            recipient=address.envelope,
            destination=address.domain,
            content=content,
            tags=list(submission.tags),
            metadata=submission.metadata,
            priority=submission.priority,
            environment=accepted.environment,
            on_unknown=submission.on_unknown,
            channel=accepted.channel,
            api_key_id=accepted.api_key_id,
            size=submission.size,
            submission_id=accepted.submission_id,
            created_at_ms=accepted.created_at_ms,
            valid_until_ms=valid_until_ms,
            scheduled_ms=submission.times.scheduled_ms,
            deliver_before_ms=submission.times.deliver_before_ms,
            template=submission.made_from,
            template_version=_template_version(submission, accepted),
            request_id=accepted.request_id,
            redrive_of=submission.redrive and submission.redrive.of,
        )
        for message_id, address in zip(accepted.message_ids, submission.recipients, strict=True)
    ]


def _template_version(submission: Submission, accepted: Accepted) -> int | None:
    if submission.redrive is not None:
        return submission.redrive.template_version
    return None if accepted.template is None else accepted.template.version


def claim_of(
    accepted: Accepted, *, claim_id: str, fingerprint: str, answer: bytes, valid_until_ms: int
) -> Claim:  # fmt: skip
    return Claim(
        claim_id=claim_id,
        fingerprint=fingerprint,
        answer=answer.decode(),
        message_ids=list(accepted.message_ids),
        submission_id=accepted.submission_id,
        created_at_ms=accepted.created_at_ms,
        from_=accepted.from_,
        environment=accepted.environment,
        api_key_id=accepted.api_key_id,
        template_id=accepted.template and accepted.template.template_id,
        template_version=accepted.template and accepted.template.version,
        unsubscribe_scope=accepted.unsubscribe_scope,
        request_id=accepted.request_id,
        valid_until_ms=valid_until_ms,
    )


def pinned_by(claim: Claim | ClaimedItem) -> Pinned | None:
    if claim.template_id is None or claim.template_version is None:
        return None
    return Pinned(claim.template_id, claim.template_version)


def accepted_by(claim: Claim) -> Accepted:
    """What the claim's writer decided."""
    return Accepted(
        message_ids=tuple(claim.message_ids),
        submission_id=claim.submission_id,
        created_at_ms=claim.created_at_ms,
        from_=claim.from_,
        environment=claim.environment,
        api_key_id=claim.api_key_id,
        template=pinned_by(claim),
        unsubscribe_scope=claim.unsubscribe_scope,
        request_id=claim.request_id,
    )


def place_of(message_ids: Sequence[str]) -> Placed:
    """Where the messages of these ids (made here) live."""
    parsed = parse_message_id(message_ids[0])
    assert parsed is not None, "an id that this service made is well formed"
    return Placed(parsed.lane, parsed.partition)
