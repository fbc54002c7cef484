"""`sendarix dead-letters`."""

from itertools import islice
from typing import Annotated, cast

import typer

from sendarix.cli.desk import AsJson, desk_of
from sendarix.cli.sending import read_pairs
from sendarix.resources.dead_letters import MAX_REDRIVES
from sendarix.shapes import DeadLetterFilters

app = typer.Typer(name="dead-letters", help="What failed for good: why, and send it once more.", no_args_is_help=True)
_COLUMNS = ("message_id", "failed_at", "cause", "category", "redriven_as", "recipient", "reply")
_GROUP_COLUMNS = ("messages", "last_at", "category", "enhanced_code", "recipient_domain", "reply")
_REDRIVE_COLUMNS = ("redrive_of", "message_id", "status", "recipient", "error")
_Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Only such mail: category=ip_blocked, recipient_domain, template, tag, path; repeat it.",
    ),
]
_Since = Annotated[str | None, typer.Option(help="Failed at or after this time (RFC 3339).")]
_Until = Annotated[str | None, typer.Option(help="Failed before this time.")]
_Limit = Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")]


@app.command("list")
def listed(
    context: typer.Context,
    where: _Where = None,
    since: _Since = None,
    until: _Until = None,
    limit: _Limit = 25,
    as_json: AsJson = False,
) -> None:
    """List messages that failed for good, newest first."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.dead_letters.list(**_filters(where, since, until))
        desk.rows(islice(found, limit or None), _COLUMNS)


@app.command()
def groups(
    context: typer.Context, where: _Where = None, since: _Since = None, until: _Until = None, as_json: AsJson = False
) -> None:
    """Count them by cause, the most frequent first."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.dead_letters.groups(**_filters(where, since, until))
        desk.rows(
            found if as_json else ({**group, **group["cause"], "reply": group["sample"]["reply"]} for group in found),
            _GROUP_COLUMNS,
        )


@app.command()
def show(
    context: typer.Context, message_id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
) -> None:
    """Show one."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.show(client.dead_letters.get(message_id))


@app.command()
def redrive(
    context: typer.Context,
    message_ids: Annotated[list[str] | None, typer.Argument(metavar="ID…")] = None,
    where: _Where = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_REDRIVES, help="So many at most.")] = MAX_REDRIVES,
    key: Annotated[str | None, typer.Option(help="With the same key, running it again sends nothing twice.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send messages once more, as new ones: those named, or those that fit and were not sent again yet."""
    desk = desk_of(context, as_json)
    filters = _filters(where, since, until)
    if bool(message_ids) == bool(filters):
        raise typer.BadParameter("Name messages, or say which by --where, --since and --until: one of both.")
    with desk.client() as client:
        if message_ids:
            found = client.dead_letters.redrive_many(message_ids, idempotency_key=key)
        else:
            found = client.dead_letters.redrive_matching(filters, limit=limit, idempotency_key=key)
    desk.rows(
        found["data"]
        if as_json
        else ({**each, "error": each.get("error", {}).get("message")} for each in found["data"]),
        _REDRIVE_COLUMNS,
    )


def _filters(where: list[str] | None, since: str | None, until: str | None) -> DeadLetterFilters:
    given = {**(read_pairs("--where", where) if where else {}), "since": since, "until": until}
    return cast("DeadLetterFilters", {name: value for name, value in given.items() if value is not None})
