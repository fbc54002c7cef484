"""Re-drives (R29): a message that failed, sent once more as a new one, with the content that the log still has of it. Pure.

What was decided of the original counts no more: sender, suppression, limits and links are judged as of any mail of today.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.inputs import Submit
from schemas.mail import Content
from services.ingest.domain.access import Caller
from services.ingest.domain.addresses import InvalidAddress, parse_address
from services.ingest.domain.batch import AcceptedItem, item_shown
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.fields import faults_of_names
from services.ingest.domain.submission import Redrive, Submission
from services.ingest.domain.times import Times

MAX_REDRIVES = 1000  # of one request, as of a batch
FIELDS = frozenset({"message_ids", "filters", "limit"})
FILTERS = frozenset({"category", "recipient_domain", "template", "tag", "path", "since", "until", "redriven"})
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters a request is about: these, or the first `limit` that fit."""

    message_ids: tuple[str, ...] | None
    filters: Mapping[str, str]
    limit: int


def read_wanted(body: Mapping[str, Any]) -> Wanted:
    """Raises Refused (422) with every fault. Whether a filter's value means anything, the read side says."""
    faults = faults_of_names(body, FIELDS, _NOTHING)
    by_ids, by_filters = body.get("message_ids") is not None, body.get("filters") is not None
    if by_ids == by_filters:
        faults.append(
            Fault("message_ids", "conflict" if by_ids else "required", "Give `message_ids` or `filters`: one of them.")
        )
    message_ids = _message_ids(body["message_ids"], faults) if by_ids else None
    filters = _filters(body["filters"], faults) if by_filters else {}
    limit = body.get("limit")
    if limit is None:
        limit = MAX_REDRIVES
    elif by_ids:
        faults.append(Fault("limit", "conflict", "It goes with `filters`."))
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_REDRIVES:
        faults.append(Fault("limit", "invalid_value", f"It is a whole number from 1 to {MAX_REDRIVES}."))
    if faults:
        raise invalid(faults)
    return Wanted(message_ids, filters, limit)


def check_nothing_said(body: Mapping[str, Any]) -> None:
    """A single re-drive has nothing to say. Raises Refused (422)."""
    if faults := faults_of_names(body, _NOTHING, _NOTHING):
        raise invalid(faults)


def submission_of(submit: Submit, content: Content, caller: Caller) -> Submission:
    """What `POST /messages` would have made of the same mail, for this one recipient. Raises Refused.

    Its times are not taken over: they are over, or it would not have failed.
    """
    if submit.environment != caller.environment:
        message = f"It was sent with a {submit.environment} key, and is sent again with one of those only."
        raise Refused("conflict", message)
    try:
        recipient, from_ = parse_address(submit.recipient), parse_address(content.from_)
        reply_to = tuple(parse_address(address) for address in content.reply_to)
    except InvalidAddress as error:
        raise Refused("conflict", f"An address in it is not taken any more: {error}") from error
    return Submission(
        recipients=(recipient,),
        roles=("to",),
        several=False,
        from_=from_,
        reply_to=reply_to,
        subject=content.subject,
        text=content.text,
        html=content.html,
        headers=dict(content.headers),
        metadata=dict(submit.metadata),
        tags=tuple(submit.tags),
        priority=submit.priority,
        size=submit.size,
        times=Times(),
        on_unknown=submit.on_unknown,
        attachments=tuple(content.attachments),
        template=None,
        made_from=submit.template,
        redrive=Redrive(submit.message_id, tuple(content.to), tuple(content.cc), submit.template_version),
    )


def redrive_answer(batch_id: str, message_ids: Sequence[str], outcomes: Sequence[AcceptedItem | Refused]) -> bytes:
    """The body of the 202: what became of each, in their order."""
    data = [
        item_shown(index, outcome) | {"redrive_of": message_id}
        for index, (message_id, outcome) in enumerate(zip(message_ids, outcomes, strict=True))
    ]
    return orjson.dumps({"object": "list", "batch_id": batch_id, "data": data})


def not_dead() -> Refused:
    return Refused(
        "not_found", "There is no such dead letter: it has not failed, or the read side has not heard of it."
    )


def content_gone() -> Refused:
    return Refused("content_expired", "The log has its content no more, so it can not be sent again.")


def _message_ids(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_REDRIVES:
        faults.append(Fault("message_ids", "invalid_value", f"It is a list of 1 to {MAX_REDRIVES} message ids."))
        return ()
    seen: set[str] = set()
    for index, item in enumerate(value):
        if not isinstance(item, str):
            faults.append(Fault(f"message_ids[{index}]", "invalid_type", "A message id is a string."))
        elif item in seen:
            faults.append(Fault(f"message_ids[{index}]", "duplicate", "This id is given twice."))
        else:
            seen.add(item)
    return tuple(item for item in value if isinstance(item, str))


def _filters(value: Any, faults: list[Fault]) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        faults.append(Fault("filters", "invalid_type", "`filters` is an object."))
        return {}
    given = {name: item for name, item in value.items() if item is not None}
    wrong = faults_of_names(given, FILTERS, _NOTHING)
    wrong += [
        Fault(name, "invalid_type", "It is a string.")
        for name, item in given.items()
        if name in FILTERS and not isinstance(item, bool if name == "redriven" else str)
    ]
    faults += [Fault(f"filters.{fault.field}", fault.code, fault.message) for fault in wrong]
    return {name: str(item).lower() if isinstance(item, bool) else str(item) for name, item in given.items()}
