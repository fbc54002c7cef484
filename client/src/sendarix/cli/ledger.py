"""`sendarix ledger`."""

from typing import Annotated, Any

import typer

from sendarix.cli.desk import AsJson, desk_of
from sendarix.shapes import LedgerHour

_COLUMNS = ("queued", "delivered", "bounced", "suppressed", "cancelled", "expired", "open", "missing", "drift", "hour")


def add_to(app: typer.Typer) -> None:
    app.command()(ledger)


def ledger(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(help="From this time on; by default the last 24 hours.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of everything that was accepted, by the hour. Exit status 1 where the two counts differ."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        hours = client.ledger.get(since=since, until=until)["data"]
    desk.rows(hours if as_json else [_row(hour) for hour in hours], _COLUMNS)
    if any(hour["drift"] or hour["missing"] for hour in hours):
        raise typer.Exit(1)


def _row(hour: LedgerHour) -> dict[str, Any]:
    return {**hour, "open": sum(hour["open"].values())}
