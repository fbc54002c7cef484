"""Dead letters (R29): messages that failed for good, one by one and by what they failed of.

What bounced is one, at once, after the last attempt or by a report that came later; so is what expired. What was
cancelled or suppressed was meant to be. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from chassis.ids import parse_message_id
from schemas.envelope import to_timestamp
from schemas.mail import Category, Environment
from services.analytics.domain.answers import Json
from services.analytics.domain.cursors import fingerprint, read_message_cursor
from services.analytics.domain.parameters import MAX_LIMIT, Parameters, Reader, Wrong, one_of, text_value, time_value

MAX_GROUPS = 100
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class LetterFilters:
    """Which: every one that is set must hold. Times are of the failure."""

    category: str | None = None
    recipient_domain: str | None = None
    template: str | None = None
    tag: str | None = None
    path: str | None = None
    environment: str | None = None
    redriven: bool | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    message_ids: tuple[str, ...] | None = None

    @property
    def fingerprint(self) -> str:
        return fingerprint(repr(self))


@dataclass(frozen=True, slots=True)
class LettersQuery:
    filters: LetterFilters
    limit: int
    after: str | None  # a message id


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Times are Unix ms; 0 and "" say "none"."""

    message_id: str
    recipient: str
    environment: str
    tags: Sequence[str]
    failed_at: int
    cause: str
    category: str
    code: int
    enhanced_code: str
    reply: str
    path: str
    mx_host: str
    redriven_as: Sequence[str]
    attempts: int
    template: str


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one cause, with the last one as a sample."""

    category: str
    enhanced_code: str
    recipient_domain: str
    messages: int
    first_at: int
    last_at: int
    sample_id: str
    sample_reply: str


def letters_query(parameters: Parameters) -> LettersQuery:
    """`GET /v1/dead-letters`. Raises InvalidQuery."""
    reader = Reader(parameters)
    filters = replace(_filters(reader), message_ids=reader.take("message_ids", _ids))
    query = LettersQuery(filters, reader.limit(), None)
    after = reader.after(lambda text: read_message_cursor(text, filters.fingerprint))
    reader.finish()
    return replace(query, after=after)


def groups_query(parameters: Parameters) -> LetterFilters:
    """`GET /v1/dead-letters/groups`. Raises InvalidQuery."""
    reader = Reader(parameters)
    filters = _filters(reader)
    reader.finish()
    return filters


def letter_view(letter: DeadLetter) -> Json:
    known = parse_message_id(letter.message_id)
    return {
        "message_id": letter.message_id,
        "recipient": letter.recipient,
        "environment": letter.environment,
        "category": letter.category or None,
        "code": letter.code or None,
        "enhanced_code": letter.enhanced_code or None,
        "reply": letter.reply or None,
        "path": letter.path or None,
        "mx_host": letter.mx_host or None,
        "template": letter.template or None,
        "tags": list(letter.tags),
        "attempts": letter.attempts,
        "created_at": to_timestamp(known.created_at_ms if known else 0),
        "failed_at": to_timestamp(letter.failed_at),
        "cause": letter.cause,
        "redriven_as": list(letter.redriven_as),
    }


def group_view(group: Group) -> Json:
    return {
        "cause": {
            "category": group.category or None,
            "enhanced_code": group.enhanced_code or None,
            "recipient_domain": group.recipient_domain,
        },
        "messages": group.messages,
        "first_at": to_timestamp(group.first_at),
        "last_at": to_timestamp(group.last_at),
        "sample": {"message_id": group.sample_id, "reply": group.sample_reply or None},
    }


def _filters(reader: Reader) -> LetterFilters:
    return LetterFilters(
        category=reader.take("category", one_of(get_args(Category))),
        recipient_domain=reader.take("recipient_domain", lambda text: text_value(text).lower()),
        template=reader.take("template", text_value),
        tag=reader.take("tag", text_value),
        path=reader.take("path", text_value),
        environment=reader.take("environment", one_of(get_args(Environment))),
        redriven=reader.take("redriven", lambda text: _TRUTH[one_of(list(_TRUTH))(text)]),
        since_ms=reader.take("since", time_value),
        until_ms=reader.take("until", time_value),
    )


def _ids(text: str) -> tuple[str, ...]:
    """What is no id finds nothing, as an id of another project does."""
    found = tuple(text.split(","))
    if len(found) > MAX_LIMIT:
        raise Wrong("too_many", f"At most {MAX_LIMIT} ids at once.")
    return found
