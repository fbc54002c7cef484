"""`/v1/suppressions`: addresses to which nothing is sent."""

from typing import Any

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import Suppression


def add(recipient: str, *, reason: str = "manual", tag: str | None = None) -> Call[Suppression]:
    """Once this returns, no attempt to the address starts; adding it again changes nothing."""
    body: dict[str, Any] = {"recipient": recipient, "reason": reason}
    if tag is not None:
        body["tag"] = tag
    return Call(Request("POST", path_of("suppressions"), body=body_of(body)))


def listed() -> Listing[Suppression]:
    return Listing(Request("GET", path_of("suppressions")))


def get(recipient: str) -> Call[Suppression]:
    return Call(Request("GET", path_of("suppressions", recipient)))


def remove(recipient: str, *, origin: str | None = None) -> Call[dict[str, Any] | None]:
    """Mail to the address goes out again; with `origin`, where nothing else suppresses it."""
    return Call(Request("DELETE", path_of("suppressions", recipient), query=query_of({"origin": origin})))


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
