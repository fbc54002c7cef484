"""`sendarix queues`."""

from itertools import islice
from typing import Annotated, Literal

import typer

from sendarix.cli.desk import AsJson, desk_of

app = typer.Typer(name="queues", help="What waits where: stop it, let it go.", no_args_is_help=True)
Kind = Annotated[Literal["destination", "provider_group", "path"], typer.Option(help="What NAME is.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A domain, a provider such as google, or a path.")]
_COLUMNS = ("waiting", "in_flight", "oldest_at", "next_attempt_at", "reason", "paused", "name")


@app.command("list")
def listed(
    context: typer.Context,
    kind: Kind = "destination",
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")] = 25,
    as_json: AsJson = False,
) -> None:
    """List the queues, the longest first."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.rows(islice(client.queues.list(kind=kind), limit or None), _COLUMNS)


@app.command()
def pause(
    context: typer.Context,
    name: Name,
    kind: Kind = "destination",
    reason: Annotated[str | None, typer.Option(help="Shown to whoever wonders.")] = None,
    as_json: AsJson = False,
) -> None:
    """Stop a queue: its mail waits."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{name} is paused.", client.queues.pause(name, kind=kind, reason=reason))


@app.command()
def resume(context: typer.Context, name: Name, kind: Kind = "destination", as_json: AsJson = False) -> None:
    """Let a queue go on."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.queues.resume(name, kind=kind)
    desk.say(f"{name} is {'still paused by another' if found['paused'] else 'resumed'}.", found)


@app.command()
def flush(context: typer.Context, name: Name, kind: Kind = "destination", as_json: AsJson = False) -> None:
    """Send what waits for its next attempt, now."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{name} is flushed.", client.queues.flush(name, kind=kind))
