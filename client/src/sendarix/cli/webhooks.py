"""`sendarix webhooks`."""

from itertools import islice
from typing import Annotated, Literal

import typer

from sendarix.cli.desk import AsJson, desk_of

app = typer.Typer(name="webhooks", help="Where events are delivered to.", no_args_is_help=True)
_COLUMNS = ("id", "created_at", "disabled", "events", "url")
_ATTEMPT_COLUMNS = ("at", "event_type", "event_id", "attempt", "outcome", "status_code", "error")
_REPLAY_COLUMNS = ("id", "created_at", "status", "reason", "matched", "queued", "finished_at")
_Status = Literal["succeeded", "failed"]
_Id = Annotated[str, typer.Argument(metavar="ID")]


@app.command("list")
def listed(context: typer.Context, as_json: AsJson = False) -> None:
    """List the endpoints."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.rows(client.webhooks.list(), _COLUMNS)


@app.command()
def create(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL")],
    event: Annotated[list[str] | None, typer.Option(help="An event type; repeat it for more. Else all.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only messages with this tag; repeat it for more.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an endpoint. Its secret, which verifies signatures, is shown this once."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.show(client.webhooks.create(url=url, events=event or ["*"], tags=tag or []))


@app.command("test")
def send_test(context: typer.Context, webhook_id: _Id, as_json: AsJson = False) -> None:
    """Have a test event called, once."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        asked = client.webhooks.test(webhook_id)
    look = f"sendarix webhooks attempts {webhook_id} --event {asked['event_id']}"
    desk.say(f"The test is on its way; what came of it: {look}", asked)


@app.command()
def rotate(
    context: typer.Context,
    webhook_id: _Id,
    overlap: Annotated[str | None, typer.Option(help="How long the old secret signs, too; 0: not at all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new secret, shown this once."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.show(client.webhooks.rotate_secret(webhook_id, overlap=overlap))


@app.command()
def replay(
    context: typer.Context,
    webhook_id: _Id,
    event: Annotated[str | None, typer.Option(help="The id of one event; else --since.")] = None,
    since: Annotated[str | None, typer.Option(help="Such as 2027-01-31T09:00:00Z; at most 14 days ago.")] = None,
    until: Annotated[str | None, typer.Option(help="Exclusive. Else: now.")] = None,
    event_type: Annotated[list[str] | None, typer.Option("--type", help="Only this type; repeat it for more.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what has not arrived.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have one event, or those of a window, called once more."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        asked = client.webhooks.replay(
            webhook_id,
            event_id=event,
            since=since,
            until=until,
            event_types=event_type or None,
            only_failed=failed or None,
        )
    desk.say(f"{asked['id']} is on its way; how it stands: sendarix webhooks replays {webhook_id}", asked)


@app.command()
def replays(
    context: typer.Context,
    webhook_id: _Id,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 25,
    as_json: AsJson = False,
) -> None:
    """The replays of an endpoint and how they stand; newest first."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.rows(islice(client.webhooks.replays(webhook_id), limit), _REPLAY_COLUMNS)


@app.command()
def attempts(
    context: typer.Context,
    webhook_id: _Id,
    status: Annotated[_Status | None, typer.Option(help="Only what has arrived, or what has not.")] = None,
    event: Annotated[str | None, typer.Option(help="Only of this event.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 25,
    as_json: AsJson = False,
) -> None:
    """What was called there, and how it answered; newest first."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.webhooks.attempts(webhook_id, status=status, event_id=event)
        desk.rows(islice(found, limit), _ATTEMPT_COLUMNS)


@app.command()
def delete(context: typer.Context, webhook_id: _Id, as_json: AsJson = False) -> None:
    """Remove an endpoint; nothing more is delivered there."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{webhook_id} is deleted.", client.webhooks.delete(webhook_id))
