"""`sendarix webhooks`."""

from typing import Annotated

import typer

from sendarix.cli.desk import AsJson, desk_of

app = typer.Typer(name="webhooks", help="Where events are delivered to.", no_args_is_help=True)
_COLUMNS = ("id", "created_at", "events", "url")


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


@app.command()
def delete(
    context: typer.Context, webhook_id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
) -> None:
    """Remove an endpoint; nothing more is delivered there."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{webhook_id} is deleted.", client.webhooks.delete(webhook_id))
