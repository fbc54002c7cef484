"""`/v1/dead-letters`: messages that failed for good, and sending them once more."""

from collections.abc import Sequence
from typing import Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import DeadLetter, DeadLetterFilters, DeadLetterGroup, Redrives, Sent

MAX_REDRIVES = 1000  # messages in one request


def listed(**filters: Unpack[DeadLetterFilters]) -> Listing[DeadLetter]:
    """Newest first; every filter must hold. Times are of the failure."""
    return Listing(Request("GET", path_of("dead-letters"), query=query_of(filters)))


def groups(**filters: Unpack[DeadLetterFilters]) -> Listing[DeadLetterGroup]:
    """How many failed for one cause; the most frequent first, a hundred at most."""
    return Listing(Request("GET", path_of("dead-letters", "groups"), query=query_of(filters)))


def get(message_id: str) -> Call[DeadLetter]:
    return Call(Request("GET", path_of("dead-letters", message_id)))


def redrive(message_id: str, *, idempotency_key: str | None = None) -> Call[Sent]:
    """Send it once more, as a new message. Conflict (`content_expired`) where its content is gone, after 7 days."""
    path = path_of("dead-letters", message_id, "redrive")
    return Call(Request("POST", path, body=b"{}", idempotency_key=idempotency_key))


def redrive_many(message_ids: Sequence[str], *, idempotency_key: str | None = None) -> Call[Redrives]:
    """Up to 1000 under one key; each has its own result."""
    return _many({"message_ids": list(message_ids)}, idempotency_key)


def redrive_matching(
    filters: DeadLetterFilters, *, limit: int = MAX_REDRIVES, idempotency_key: str | None = None
) -> Call[Redrives]:
    """Those that fit, and were not sent again yet, the newest first: called again, it goes on with the rest."""
    return _many({"filters": filters, "limit": limit}, idempotency_key)


def _many(body: dict[str, object], idempotency_key: str | None) -> Call[Redrives]:
    path = path_of("dead-letters", "redrive")
    return Call(Request("POST", path, body=body_of(body), idempotency_key=idempotency_key))


class DeadLetters(Resource):
    """`client.dead_letters`."""

    list = walk(listed)
    groups = walk(groups)
    get = ask(get)
    redrive = ask(redrive)
    redrive_many = ask(redrive_many)
    redrive_matching = ask(redrive_matching)


class AsyncDeadLetters(AsyncResource):
    """`client.dead_letters`, awaited."""

    list = walk_async(listed)
    groups = walk_async(groups)
    get = ask_async(get)
    redrive = ask_async(redrive)
    redrive_many = ask_async(redrive_many)
    redrive_matching = ask_async(redrive_matching)
