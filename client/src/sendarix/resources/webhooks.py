"""`/v1/webhooks`: where events are delivered to."""

from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of
from sendarix.shapes import NewWebhook, Webhook


def create(**webhook: Unpack[NewWebhook]) -> Call[Webhook]:
    """The answer holds the secret to verify signatures with, this once. `events` is a list of types; left out: all."""
    body = body_of({"events": ["*"], **webhook})
    return Call(Request("POST", path_of("webhooks"), body=body, repeatable=False))


def listed() -> Listing[Webhook]:
    return Listing(Request("GET", path_of("webhooks")))


def get(webhook_id: str) -> Call[Webhook]:
    return Call(Request("GET", path_of("webhooks", webhook_id)))


def update(webhook_id: str, **changes: Unpack[NewWebhook]) -> Call[Webhook]:
    return Call(Request("PATCH", path_of("webhooks", webhook_id), body=body_of(changes)))


def delete(webhook_id: str) -> Call[dict[str, Any] | None]:
    return Call(Request("DELETE", path_of("webhooks", webhook_id)))


def rotate_secret(webhook_id: str) -> Call[Webhook]:
    """A new secret; for a while both sign."""
    request = Request("POST", path_of("webhooks", webhook_id, "rotate-secret"), body=b"{}", repeatable=False)
    return Call(request)


def attempts(webhook_id: str) -> Listing[dict[str, Any]]:
    """What was called there, and how it answered; newest first."""
    return Listing(Request("GET", path_of("webhooks", webhook_id, "attempts")))


class Webhooks(Resource):
    """`client.webhooks`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    update = ask(update)
    delete = ask(delete)
    rotate_secret = ask(rotate_secret)
    attempts = walk(attempts)


class AsyncWebhooks(AsyncResource):
    """`client.webhooks`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    update = ask_async(update)
    delete = ask_async(delete)
    rotate_secret = ask_async(rotate_secret)
    attempts = walk_async(attempts)
