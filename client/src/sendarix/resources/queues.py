"""`/v1/queues`: what waits where, stopped and let go."""

from typing import Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import Queue, QueueFilters, QueueKind


def listed(**filters: Unpack[QueueFilters]) -> Listing[Queue]:
    """The longest first."""
    return Listing(Request("GET", path_of("queues"), query=query_of(filters)))


def get(name: str, *, kind: QueueKind = "destination") -> Call[Queue]:
    return Call(Request("GET", path_of("queues", name), query=query_of({"kind": kind})))


def pause(name: str, *, kind: QueueKind = "destination", reason: str | None = None) -> Call[Queue]:
    """Its mail waits until it is resumed: that of this project, or with an admin key everybody's."""
    body = {"kind": kind} if reason is None else {"kind": kind, "reason": reason}
    return Call(Request("POST", path_of("queues", name, "pause"), body=body_of(body)))


def resume(name: str, *, kind: QueueKind = "destination") -> Call[Queue]:
    return Call(Request("POST", path_of("queues", name, "resume"), body=body_of({"kind": kind})))


def flush(name: str, *, kind: QueueKind = "destination") -> Call[Queue]:
    """What waits for its next attempt is due at once."""
    return Call(Request("POST", path_of("queues", name, "flush"), body=body_of({"kind": kind})))


class Queues(Resource):
    """`client.queues`."""

    list = walk(listed)
    get = ask(get)
    pause = ask(pause)
    resume = ask(resume)
    flush = ask(flush)


class AsyncQueues(AsyncResource):
    """`client.queues`, awaited."""

    list = walk_async(listed)
    get = ask_async(get)
    pause = ask_async(pause)
    resume = ask_async(resume)
    flush = ask_async(flush)
