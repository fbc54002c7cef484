"""`/v1/messages`: sending, and what became of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import Batch, Explanation, Mail, Message, MessageFilters, Moment, Sent

MAX_BATCH = 1000  # mails in one request


def send(mail: Mail, *, idempotency_key: str | None = None) -> Call[Sent]:
    """Hand over a mail. Without a key the client makes one; all attempts of this call carry the same, so it is sent once."""
    key = idempotency_key or _key_within(mail)
    return Call(Request("POST", path_of("messages"), body=body_of(mail), idempotency_key=key))


def send_batch(mails: Sequence[Mail], *, strict: bool = False, idempotency_key: str | None = None) -> Call[Batch]:
    """Hand over up to 1000 mails under one key; `strict`: all of them or none."""
    body = body_of({"messages": list(mails), "strict": strict})
    return Call(Request("POST", path_of("messages", "batch"), body=body, idempotency_key=idempotency_key))


def get(message_id: str, *, as_of: Moment | None = None) -> Call[Message]:
    """A message with its timeline; with `as_of` as it stood at that time."""
    return Call(Request("GET", path_of("messages", message_id), query=query_of({"as_of": as_of})))


def listed(**filters: Unpack[MessageFilters]) -> Listing[Message]:
    """Messages, newest first; every filter must hold. `limit` is the size of a page, not of the list."""
    given: dict[str, Any] = dict(filters)
    metadata: Mapping[str, str] = given.pop("metadata", {})
    named = {"from" if name == "from_" else name: value for name, value in given.items()}
    query = query_of({**named, **{f"metadata[{name}]": value for name, value in metadata.items()}})
    return Listing(Request("GET", path_of("messages"), query=query))


def cancel(message_id: str) -> Call[Message]:
    """Stop a scheduled or waiting message. NotFound where it is sent already, or unknown."""
    return Call(Request("DELETE", path_of("messages", message_id)))


def reschedule(message_id: str, scheduled_time: Moment) -> Call[Message]:
    """Move a scheduled message to another time."""
    body = body_of({"scheduled_time": scheduled_time})
    return Call(Request("PATCH", path_of("messages", message_id), body=body))


def release(message_id: str) -> Call[Message]:
    """Let a held message go on."""
    return Call(Request("POST", path_of("messages", message_id, "release"), body=b"{}"))


def explain(message_id: str, *, as_of: Moment | None = None) -> Call[Explanation]:
    """Why it went as it did, and what it waits for: decisions in order, each with its event."""
    return Call(Request("GET", path_of("messages", message_id, "explain"), query=query_of({"as_of": as_of})))


def _key_within(mail: Mail) -> str | None:
    """The key that the mail itself carries, as legacy systems do."""
    headers = mail.get("headers") or {}
    return next((value for name, value in headers.items() if name.lower() == "x-idempotency-key"), None)


class Messages(Resource):
    """`client.messages`."""

    send = ask(send)
    send_batch = ask(send_batch)
    get = ask(get)
    list = walk(listed)
    cancel = ask(cancel)
    reschedule = ask(reschedule)
    release = ask(release)
    explain = ask(explain)


class AsyncMessages(AsyncResource):
    """`client.messages`, awaited."""

    send = ask_async(send)
    send_batch = ask_async(send_batch)
    get = ask_async(get)
    list = walk_async(listed)
    cancel = ask_async(cancel)
    reschedule = ask_async(reschedule)
    release = ask_async(release)
    explain = ask_async(explain)
