"""`/v1/routes`: rules that choose a path."""

from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import Route, RouteExplanation, RouteSettings, Tier


def create(**route: Unpack[RouteSettings]) -> Call[Route]:
    return Call(Request("POST", path_of("routes"), body=body_of(route), repeatable=False))


def listed() -> Listing[Route]:
    """The project's and the installation's, newest first."""
    return Listing(Request("GET", path_of("routes")))


def get(route_id: str) -> Call[Route]:
    return Call(Request("GET", path_of("routes", route_id)))


def update(route_id: str, **changes: Unpack[RouteSettings]) -> Call[Route]:
    """A new version; what is not named stays."""
    return Call(Request("PATCH", path_of("routes", route_id), body=body_of(changes)))


def delete(route_id: str) -> Call[dict[str, Any] | None]:
    return Call(Request("DELETE", path_of("routes", route_id)))


def undo(route_id: str) -> Call[dict[str, Any]]:
    """Back to the version before, a deletion included; a second one does it again."""
    return Call(Request("POST", path_of("routes", route_id, "undo"), body=b"{}", repeatable=False))


def explain(
    recipient: str, *, from_: str | None = None, tag: str | None = None, tier: Tier | None = None
) -> Call[RouteExplanation]:
    """Which way such a mail would go now; nothing is sent."""
    query = query_of({"recipient": recipient, "from": from_, "tag": tag, "tier": tier})
    return Call(Request("GET", path_of("routes", "explain"), query=query))


class Routes(Resource):
    """`client.routes`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    update = ask(update)
    delete = ask(delete)
    undo = ask(undo)
    explain = ask(explain)


class AsyncRoutes(AsyncResource):
    """`client.routes`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    update = ask_async(update)
    delete = ask_async(delete)
    undo = ask_async(undo)
    explain = ask_async(explain)
