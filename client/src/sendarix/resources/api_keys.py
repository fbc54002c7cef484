"""`/v1/api-keys`."""

from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of
from sendarix.shapes import ApiKey, NewApiKey


def create(**key: Unpack[NewApiKey]) -> Call[ApiKey]:
    """The answer holds the key itself, this once."""
    return Call(Request("POST", path_of("api-keys"), body=body_of(key), repeatable=False))


def listed() -> Listing[ApiKey]:
    return Listing(Request("GET", path_of("api-keys")))


def get(key_id: str) -> Call[ApiKey]:
    """With the time of its last use."""
    return Call(Request("GET", path_of("api-keys", key_id)))


def rotate(key_id: str, *, overlap: str | None = None) -> Call[ApiKey]:
    """A new key of the same rights; the old one goes on for `overlap`, such as `24h` or `0`."""
    body = body_of({} if overlap is None else {"overlap": overlap})
    return Call(Request("POST", path_of("api-keys", key_id, "rotate"), body=body, repeatable=False))


def revoke(key_id: str) -> Call[dict[str, Any] | None]:
    """Within two seconds nobody takes it any more."""
    return Call(Request("DELETE", path_of("api-keys", key_id)))


class ApiKeys(Resource):
    """`client.api_keys`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    rotate = ask(rotate)
    revoke = ask(revoke)


class AsyncApiKeys(AsyncResource):
    """`client.api_keys`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    rotate = ask_async(rotate)
    revoke = ask_async(revoke)
