"""Which messages a client asks for: `GET /v1/messages` as a typed question (R30)."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import get_args

from schemas.mail import Category, Channel, Status
from services.analytics.domain.cursors import fingerprint, read_message_cursor
from services.analytics.domain.parameters import Fault, Parameters, Reader, one_of, text_value, time_value
from services.analytics.domain.rows import address_of

MAX_METADATA_FILTERS = 10
_STATUSES: tuple[str, ...] = get_args(Status)
_CATEGORIES: tuple[str, ...] = get_args(Category)
_CHANNELS: tuple[str, ...] = get_args(Channel)
_METADATA = re.compile(r"metadata\[(.+)\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MessageFilters:
    """Which messages: every one that is set must hold. Addresses and domains are compared in lower case."""

    status: str | None = None
    recipient: str | None = None
    recipient_domain: str | None = None
    sender: str | None = None
    subject: str | None = None
    tag: str | None = None
    template: str | None = None
    path: str | None = None
    error_category: str | None = None
    channel: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    since_ms: int | None = None  # created at or after
    until_ms: int | None = None  # created before

    @property
    def fingerprint(self) -> str:
        return fingerprint(repr(asdict(self) | {"metadata": sorted(self.metadata.items())}))


@dataclass(frozen=True, slots=True)
class MessagesQuery:
    filters: MessageFilters
    limit: int
    after: str | None  # a message id


def messages_query(parameters: Parameters) -> MessagesQuery:
    """Raises InvalidQuery."""
    reader = Reader(parameters)
    filters = MessageFilters(
        status=reader.take("status", one_of(_STATUSES)),
        recipient=reader.take("recipient", lambda text: address_of(text_value(text))),
        recipient_domain=reader.take("recipient_domain", lambda text: text_value(text).lower()),
        sender=reader.take("from", lambda text: address_of(text_value(text))),
        subject=reader.take("subject", text_value),
        tag=reader.take("tag", text_value),
        template=reader.take("template", text_value),
        path=reader.take("path", text_value),
        error_category=reader.take("error_category", one_of(_CATEGORIES)),
        channel=reader.take("channel", one_of(_CHANNELS)),
        metadata=_metadata(reader),
        since_ms=reader.take("since", time_value),
        until_ms=reader.take("until", time_value),
    )
    limit, after = reader.limit(), reader.after(lambda text: read_message_cursor(text, filters.fingerprint))
    reader.finish()
    return MessagesQuery(filters, limit, after)


def _metadata(reader: Reader) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name in reader.names():
        if (match := _METADATA.fullmatch(name)) and (value := reader.take(name, text_value)) is not None:
            found[match[1]] = value
    if len(found) > MAX_METADATA_FILTERS:
        reader.faults.append(Fault("metadata", "too_many", f"At most {MAX_METADATA_FILTERS} at once."))
    return found
