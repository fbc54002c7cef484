"""`/v1/events`: the feed, oldest first, with a cursor that goes on for ever."""

from collections.abc import Sequence

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Page, Request, path_of, query_of
from sendarix.shapes import Event

LARGEST_PAGE = 100


def page(after: str | None = None, *, types: Sequence[str] = (), limit: int = LARGEST_PAGE) -> Call[Page[Event]]:
    """One page. Keep its `next_cursor` with what you did with the events, and nothing is missed or done twice."""
    return Call(_request(after, types, limit))


def listed(after: str | None = None, *, types: Sequence[str] = ()) -> Listing[Event]:
    """The events after `after` (else all of them) that are there now."""
    return Listing(_request(after, types, LARGEST_PAGE))


def tail(after: str | None = None, *, types: Sequence[str] = (), poll_seconds: float = 1.0) -> Listing[Event]:
    """The events after `after`, and then each new one, without end. `after="now"` passes over those that are there already."""
    return Listing(_request(after, types, LARGEST_PAGE), poll_seconds)


def _request(after: str | None, types: Sequence[str], limit: int) -> Request:
    query = query_of({"types": list(types) or None, "limit": limit, "after": after})
    return Request("GET", path_of("events"), query=query)


class Events(Resource):
    """`client.events`."""

    page = ask(page)
    list = walk(listed)
    tail = walk(tail)


class AsyncEvents(AsyncResource):
    """`client.events`, awaited."""

    page = ask_async(page)
    list = walk_async(listed)
    tail = walk_async(tail)
