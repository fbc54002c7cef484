"""`sendarix get | list | cancel | reschedule | explain | trace | tail`."""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

import typer

from sendarix.cli.desk import AsJson, Desk, desk_of, line_of, plain
from sendarix.shapes import Event, MessageFilters

MessageId = Annotated[str, typer.Argument(metavar="ID", help="A message's id, msg_…")]
_COLUMNS = ("created_at", "status", "message_id", "recipient", "subject")
AsOf = Annotated[str | None, typer.Option(metavar="TIME", help="As it stood at that time (RFC 3339).")]
_DECISION_COLUMNS = ("at", "kind", "rule", "version", "text")
_MESSAGE_COLUMNS = ("time", "type", "details")


def add_to(app: typer.Typer) -> None:
    for command in (get, cancel, reschedule, explain, trace, tail):
        app.command()(command)
    app.command("list")(listed)


def get(context: typer.Context, message_id: MessageId, as_json: AsJson = False) -> None:
    """Show a message: what it is, and how it stands."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        message: dict[str, Any] = {**client.messages.get(message_id)}
    if not as_json:
        message.pop("timeline", None)  # `trace` shows it better
    desk.show(message)


def listed(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="queued, delivered, bounced …")] = None,
    recipient: Annotated[str | None, typer.Option(help="An address.")] = None,
    tag: Annotated[str | None, typer.Option(help="A tag.")] = None,
    subject: Annotated[str | None, typer.Option(help="The subject.")] = None,
    sender: Annotated[str | None, typer.Option("--from", help="The sender's address.")] = None,
    since: Annotated[str | None, typer.Option(help="Created at or after this time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Created before this time.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")] = 25,
    as_json: AsJson = False,
) -> None:
    """List messages, newest first."""
    desk = desk_of(context, as_json)
    given: dict[str, Any] = {"status": status, "recipient": recipient, "tag": tag, "subject": subject, "from_": sender}
    given |= {"since": since, "until": until, "limit": min(limit, 100) or 100}
    filters: MessageFilters = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    with desk.client() as client:
        desk.rows(islice(client.messages.list(**filters), limit or None), _COLUMNS)


def cancel(context: typer.Context, message_id: MessageId, as_json: AsJson = False) -> None:
    """Stop a message that is scheduled or waits."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{message_id} is cancelled.", client.messages.cancel(message_id))


def reschedule(
    context: typer.Context,
    message_id: MessageId,
    at: Annotated[str, typer.Argument(metavar="TIME", help="RFC 3339, such as 2027-01-31T08:00:00Z.")],
    as_json: AsJson = False,
) -> None:
    """Move a scheduled message to another time."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{message_id} goes out at {at}.", client.messages.reschedule(message_id, at))


def explain(context: typer.Context, message_id: MessageId, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show why a message went as it did: decisions in order, and what it waits for."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        said = client.messages.explain(message_id, as_of=as_of)
    if as_json:
        typer.echo(line_of(said))
        return
    desk.rows(said["decisions"], _DECISION_COLUMNS)
    if waiting := said["waiting"]:
        since = waiting["next_attempt_at"]
        typer.echo(plain(f"Waits ({waiting['reason']}{f', {since}' if since else ''}): {waiting['text']}"))


def trace(context: typer.Context, message_id: MessageId, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show a message's timeline: its events, oldest first."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        timeline = client.messages.get(message_id, as_of=as_of).get("timeline", [])
    _events(desk, timeline)


def tail(
    context: typer.Context,
    types: Annotated[
        str | None, typer.Option(help="Only these, with commas: message.bounced,message.delivered")
    ] = None,
    start: Annotated[
        str,
        typer.Option("--from", metavar="PLACE", help="now, start (with the oldest event), or a cursor of the feed."),
    ] = "now",
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0: never (Ctrl-C).")] = 0,
    as_json: AsJson = False,
) -> None:
    """Follow the events of the project as they happen."""
    desk = desk_of(context, as_json)
    wanted = types.split(",") if types else ()
    with desk.client() as client:
        after = None if start == "start" else start
        feed = client.events.tail(after, types=wanted, poll_seconds=every)
        for event in islice(feed, count or None):
            typer.echo(line_of(event) if as_json else plain("  ".join((event["subject"], *_cells(event).values()))))


def _events(desk: Desk, events: Iterable[Event]) -> None:
    desk.rows(events if desk.as_json else (_cells(event) for event in events), _MESSAGE_COLUMNS)


def _cells(event: Event) -> dict[str, str]:
    """An event in three cells: when, what, and what is worth knowing of it."""
    data = event["data"]
    attempt = data.get("attempt") or {}
    parts = (
        data.get("recipient"),
        attempt.get("number") and f"attempt {attempt['number']}",
        attempt.get("reply"),
        data.get("reason"),
        data.get("next_attempt_at") and f"next at {data['next_attempt_at']}",
    )
    return {"time": event["time"], "type": event["type"], "details": "; ".join(str(part) for part in parts if part)}
