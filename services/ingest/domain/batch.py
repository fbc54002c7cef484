"""`POST /messages/batch` (R9): many mails in one request, each judged for itself; their answer and their claim.

What a single mail may be is written elsewhere (submission.py), and so are its messages: here stands only what comes of
there being many. Pure: a helper that reads the same body comes to the same items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from schemas.idempotency import Claim, ClaimedItem
from services.ingest.domain.acceptance import Accepted, accepted_by, accepted_shown, claim_of, pinned_by
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.fields import faults_of_names
from services.ingest.domain.idempotency import BODY_HEADER, read_key
from services.ingest.domain.submission import Submission, read_submission

MAX_ITEMS = 1000
# Each recipient is a message: a batch can not be made a thousand times fifty.
MAX_MESSAGES = 1000
# Of one item, in an answer that stands in its claim: the record has room for 8 MiB.
MAX_SHOWN_FAULTS = 10

FIELDS = frozenset({"messages", "strict"})
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """A request to send many mails, none of them looked into yet."""

    items: Sequence[Any]
    strict: bool  # all of them, or none


@dataclass(frozen=True, slots=True)
class AcceptedItem:
    """One item that is to be sent, and where it stood in the request."""

    index: int
    submission: Submission
    accepted: Accepted


def read_batch(body: Mapping[str, Any]) -> Batch:
    """Raises Refused (422) for what is wrong with the batch itself."""
    faults = faults_of_names(body, FIELDS, frozenset())
    items = body.get("messages")
    if items is None:
        faults.append(Fault("messages", "required", "Give a list of messages."))
    elif not isinstance(items, list):
        faults.append(Fault("messages", "invalid_type", "`messages` is a list of what `POST /v1/messages` takes."))
    elif not items:
        faults.append(Fault("messages", "required", "The list of messages is empty."))
    elif len(items) > MAX_ITEMS:
        faults.append(Fault("messages", "too_many", f"A batch has at most {MAX_ITEMS} messages."))
    strict = body.get("strict")
    if not isinstance(strict, bool | None):
        faults.append(Fault("strict", "invalid_type", "`strict` is true or false."))
    if faults or not isinstance(items, list):
        raise invalid(faults)
    return Batch(items, strict is True)


def read_items(items: Sequence[Any]) -> list[Submission | Refused]:
    return [read_item(item) for item in items]


def read_item(item: Any) -> Submission | Refused:
    """One of the mails, or what is wrong with it."""
    if not isinstance(item, dict):
        return invalid([Fault("messages", "invalid_type", "Each of `messages` is an object.")])
    keyed = read_key((), item)
    faults = []
    if keyed.key is not None or keyed.faults:
        message = "A batch has one key: send it in the header Idempotency-Key of the request."
        faults.append(Fault(f"headers.{BODY_HEADER}", "conflict", message))
    try:
        return read_submission(keyed.body, faults)
    except Refused as refused:
        return refused


def check_size(found: Sequence[Submission | Refused]) -> None:
    """Raises Refused (422) for more messages than a batch may make."""
    count = sum(len(item.recipients) for item in found if isinstance(item, Submission))
    if count > MAX_MESSAGES:
        message = f"A batch makes at most {MAX_MESSAGES} messages, and each recipient is one; these are {count}."
        raise invalid([Fault("messages", "too_many", message)])


def check_all(outcomes: Sequence[AcceptedItem | Refused]) -> None:
    """Of a strict batch. Raises Refused (422) with the faults of every item."""
    refused = [(index, outcome) for index, outcome in enumerate(outcomes) if isinstance(outcome, Refused)]
    faults = [
        replace(fault, field=f"messages[{index}].{fault.field}")
        for index, refusal in refused
        for fault in (refusal.faults or [Fault("", refusal.code, refusal.message)])[:MAX_SHOWN_FAULTS]
    ]
    if refused:
        count = f"{len(refused)} of {len(outcomes)} messages can not be sent"
        raise Refused("validation_error", f"{count}; the batch is strict, so none was queued.", faults=faults)


def batch_answer(batch_id: str, outcomes: Sequence[AcceptedItem | Refused]) -> bytes:
    """The body of the 202: what became of each item, in their order."""
    data = [item_shown(index, outcome) for index, outcome in enumerate(outcomes)]
    return orjson.dumps({"object": "list", "batch_id": batch_id, "data": data})


def batch_claim(
    items: Sequence[AcceptedItem], *, claim_id: str, fingerprint: str, answer: bytes, valid_until_ms: int
) -> Claim:  # fmt: skip
    """The claim of a batch, of which at least one item was accepted."""
    head = claim_of(
        items[0].accepted, claim_id=claim_id, fingerprint=fingerprint, answer=answer, valid_until_ms=valid_until_ms
    )
    message_ids = [message_id for item in items for message_id in item.accepted.message_ids]
    return head.model_copy(update={"message_ids": message_ids, "items": [_claimed(item) for item in items]})


def items_by(claim: Claim) -> list[tuple[int, Accepted]]:
    """Which items the claim's writer accepted, and what it decided of each."""
    head = replace(accepted_by(claim), channel="batch")
    return [
        (
            item.index,
            replace(
                head,
                message_ids=tuple(item.message_ids),
                from_=item.from_,
                unsubscribe_scope=item.unsubscribe_scope,
                template=pinned_by(item),
            ),
        )
        for item in claim.items
    ]


def _claimed(item: AcceptedItem) -> ClaimedItem:
    accepted = item.accepted
    return ClaimedItem(
        index=item.index,
        message_ids=list(accepted.message_ids),
        from_=accepted.from_,
        unsubscribe_scope=accepted.unsubscribe_scope,
        template_id=accepted.template and accepted.template.template_id,
        template_version=accepted.template and accepted.template.version,
        redrive_of=item.submission.redrive and item.submission.redrive.of,
    )


def item_shown(index: int, outcome: AcceptedItem | Refused) -> Json:
    """What became of one item."""
    if isinstance(outcome, Refused):
        error = {"code": outcome.code, "message": outcome.message, "hint": outcome.hint}
        return {"index": index, "error": error, "errors": [f.shown() for f in outcome.faults[:MAX_SHOWN_FAULTS]]}
    return {"index": index, **accepted_shown(outcome.submission, outcome.accepted)}
