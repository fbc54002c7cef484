"""`/v1/alerts`: what is watched, and how it stands."""

from typing import Any, Unpack

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of
from sendarix.shapes import Alert, AlertSettings


def create(**alert: Unpack[AlertSettings]) -> Call[Alert]:
    return Call(Request("POST", path_of("alerts"), body=body_of(alert), repeatable=False))


def listed() -> Listing[Alert]:
    """Newest first."""
    return Listing(Request("GET", path_of("alerts")))


def get(alert_id: str) -> Call[Alert]:
    return Call(Request("GET", path_of("alerts", alert_id)))


def update(alert_id: str, **changes: Unpack[AlertSettings]) -> Call[Alert]:
    """A new version; what is not named stays."""
    return Call(Request("PATCH", path_of("alerts", alert_id), body=body_of(changes)))


def delete(alert_id: str) -> Call[dict[str, Any] | None]:
    return Call(Request("DELETE", path_of("alerts", alert_id)))


def undo(alert_id: str) -> Call[dict[str, Any]]:
    """Back to the version before, a deletion included; a second one does it again."""
    return Call(Request("POST", path_of("alerts", alert_id, "undo"), body=b"{}", repeatable=False))


class Alerts(Resource):
    """`client.alerts`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    update = ask(update)
    delete = ask(delete)
    undo = ask(undo)


class AsyncAlerts(AsyncResource):
    """`client.alerts`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    update = ask_async(update)
    delete = ask_async(delete)
    undo = ask_async(undo)
