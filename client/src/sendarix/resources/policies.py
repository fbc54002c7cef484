"""`/v1/policies`: retries, encryption and pace, by where mail goes."""

from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of
from sendarix.shapes import Policy, PolicySettings


def create(**policy: Unpack[PolicySettings]) -> Call[Policy]:
    return Call(Request("POST", path_of("policies"), body=body_of(policy), repeatable=False))


def listed() -> Listing[Policy]:
    """The project's and the installation's, newest first."""
    return Listing(Request("GET", path_of("policies")))


def get(policy_id: str) -> Call[Policy]:
    return Call(Request("GET", path_of("policies", policy_id)))


def update(policy_id: str, **changes: Unpack[PolicySettings]) -> Call[Policy]:
    """A new version; what is not named stays."""
    return Call(Request("PATCH", path_of("policies", policy_id), body=body_of(changes)))


def delete(policy_id: str) -> Call[dict[str, Any] | None]:
    return Call(Request("DELETE", path_of("policies", policy_id)))


def undo(policy_id: str) -> Call[dict[str, Any]]:
    """Back to the version before, a deletion included; a second one does it again."""
    return Call(Request("POST", path_of("policies", policy_id, "undo"), body=b"{}", repeatable=False))


class Policies(Resource):
    """`client.policies`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    update = ask(update)
    delete = ask(delete)
    undo = ask(undo)


class AsyncPolicies(AsyncResource):
    """`client.policies`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    update = ask_async(update)
    delete = ask_async(delete)
    undo = ask_async(undo)
