"""`sendarix suppressions`."""

from itertools import islice
from typing import Annotated

import typer

from sendarix.cli.desk import AsJson, desk_of

app = typer.Typer(name="suppressions", help="Addresses to which nothing is sent.", no_args_is_help=True)
Address = Annotated[str, typer.Argument(metavar="ADDRESS")]
_COLUMNS = ("created_at", "reason", "origin", "tag", "recipient")


@app.command("list")
def listed(
    context: typer.Context,
    search: Annotated[str | None, typer.Option(help="A part of the address.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")] = 25,
    as_json: AsJson = False,
) -> None:
    """List the suppressed addresses, newest first."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.suppressions.list(search=search) if search else client.suppressions.list()
        desk.rows(islice(found, limit or None), _COLUMNS)


@app.command()
def add(
    context: typer.Context,
    recipient: Address,
    reason: Annotated[str, typer.Option(help="manual, unsubscribed …")] = "manual",
    tag: Annotated[str | None, typer.Option(help="Only mail with this tag.")] = None,
    as_json: AsJson = False,
) -> None:
    """Suppress an address: once this is done, no attempt to it starts."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        added = client.suppressions.add(recipient, reason=reason, tag=tag)
    desk.say(f"{added['recipient']} is suppressed.", added)


@app.command()
def remove(context: typer.Context, recipient: Address, as_json: AsJson = False) -> None:
    """Let mail to an address go out again."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{recipient} is no longer suppressed.", client.suppressions.remove(recipient))
