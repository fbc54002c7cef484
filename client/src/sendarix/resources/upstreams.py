"""`/v1/upstreams`: smarthosts that mail may go to."""

from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of
from sendarix.shapes import Upstream, UpstreamSettings


def create(**upstream: Unpack[UpstreamSettings]) -> Call[Upstream]:
    return Call(Request("POST", path_of("upstreams"), body=body_of(upstream), repeatable=False))


def listed() -> Listing[Upstream]:
    """The project's and the installation's, newest first."""
    return Listing(Request("GET", path_of("upstreams")))


def get(upstream_id: str) -> Call[Upstream]:
    return Call(Request("GET", path_of("upstreams", upstream_id)))


def update(upstream_id: str, **changes: Unpack[UpstreamSettings]) -> Call[Upstream]:
    """A new version; what is not named stays."""
    return Call(Request("PATCH", path_of("upstreams", upstream_id), body=body_of(changes)))


def delete(upstream_id: str) -> Call[dict[str, Any] | None]:
    return Call(Request("DELETE", path_of("upstreams", upstream_id)))


def undo(upstream_id: str) -> Call[dict[str, Any]]:
    """Back to the version before, a deletion included; a second one does it again."""
    return Call(Request("POST", path_of("upstreams", upstream_id, "undo"), body=b"{}", repeatable=False))


class Upstreams(Resource):
    """`client.upstreams`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    update = ask(update)
    delete = ask(delete)
    undo = ask(undo)


class AsyncUpstreams(AsyncResource):
    """`client.upstreams`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    update = ask_async(update)
    delete = ask_async(delete)
    undo = ask_async(undo)
