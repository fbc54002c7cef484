"""`/v1/suppressions`: addresses to which nothing is sent."""

from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import Suppression, SuppressionFilters


def add(recipient: str, *, reason: str = "manual", tag: str | None = None) -> Call[Suppression]:
    """Once this returns, no attempt to the address starts; adding it again changes nothing."""
    body: dict[str, Any] = {"recipient": recipient, "reason": reason}
    if tag is not None:
        body["tag"] = tag
    return Call(Request("POST", path_of("suppressions"), body=body_of(body)))


def listed(**filters: Unpack[SuppressionFilters]) -> Listing[Suppression]:
    """Newest first; every filter must hold."""
    return Listing(Request("GET", path_of("suppressions"), query=query_of(filters)))


def get(recipient: str, **filters: Unpack[SuppressionFilters]) -> Call[Suppression]:
    """With its history and what caused it."""
    return Call(Request("GET", path_of("suppressions", recipient), query=query_of(filters)))


def remove(recipient: str, **filters: Unpack[SuppressionFilters]) -> Call[dict[str, Any] | None]:
    """Lift every cause, or those that the filters name; where none is left, mail to the address goes out again."""
    return Call(Request("DELETE", path_of("suppressions", recipient), query=query_of(filters)))


class Suppressions(Resource):
    """`client.suppressions`."""

    add = ask(add)
    list = walk(listed)
    get = ask(get)
    remove = ask(remove)


class AsyncSuppressions(AsyncResource):
    """`client.suppressions`, awaited."""

    add = ask_async(add)
    list = walk_async(listed)
    get = ask_async(get)
    remove = ask_async(remove)
