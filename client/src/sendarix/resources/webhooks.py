"""`/v1/webhooks`: where events are delivered to."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import Moment, NewWebhook, Webhook, WebhookAttempt, WebhookReplay, WebhookTest


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


def rotate_secret(webhook_id: str, *, overlap: str | None = None) -> Call[Webhook]:
    """A new secret. For the overlap (`24h`, at most 7 days; "0": not at all) both sign."""
    body = body_of({} if overlap is None else {"overlap": overlap})
    return Call(Request("POST", path_of("webhooks", webhook_id, "rotate-secret"), body=body, repeatable=False))


def test(webhook_id: str) -> Call[WebhookTest]:
    """Have a test event called, once. Look for its `event_id` among the attempts."""
    return Call(Request("POST", path_of("webhooks", webhook_id, "test"), repeatable=False))


def replay(
    webhook_id: str,
    *,
    event_id: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    event_types: Sequence[str] | None = None,
    only_failed: bool | None = None,
) -> Call[WebhookReplay]:
    """Have one event called once more, or those of a window of the last 14 days, under their ids."""
    asked = {
        "event_id": event_id,
        "since": since,
        "until": until,
        "event_types": event_types,
        "only_failed": only_failed,
    }
    body = body_of({name: value for name, value in asked.items() if value is not None})
    return Call(Request("POST", path_of("webhooks", webhook_id, "replays"), body=body, repeatable=False))


def replays(webhook_id: str) -> Listing[WebhookReplay]:
    """The last hundred, newest first."""
    return Listing(Request("GET", path_of("webhooks", webhook_id, "replays")))


def get_replay(webhook_id: str, replay_id: str) -> Call[WebhookReplay]:
    """How far it has come."""
    return Call(Request("GET", path_of("webhooks", webhook_id, "replays", replay_id)))


def attempts(
    webhook_id: str, *, status: Literal["succeeded", "failed"] | None = None, event_id: str | None = None
) -> Listing[WebhookAttempt]:
    """What was called there, and how it answered; newest first."""
    query = query_of({"status": status, "event_id": event_id})
    return Listing(Request("GET", path_of("webhooks", webhook_id, "attempts"), query=query))


class Webhooks(Resource):
    """`client.webhooks`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    update = ask(update)
    delete = ask(delete)
    rotate_secret = ask(rotate_secret)
    test = ask(test)
    replay = ask(replay)
    replays = walk(replays)
    get_replay = ask(get_replay)
    attempts = walk(attempts)


class AsyncWebhooks(AsyncResource):
    """`client.webhooks`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    update = ask_async(update)
    delete = ask_async(delete)
    rotate_secret = ask_async(rotate_secret)
    test = ask_async(test)
    replay = ask_async(replay)
    replays = walk_async(replays)
    get_replay = ask_async(get_replay)
    attempts = walk_async(attempts)
