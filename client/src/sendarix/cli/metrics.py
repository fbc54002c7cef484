"""`sendarix metrics`."""

from typing import Annotated, Any, cast

import typer

from sendarix.cli.desk import AsJson, desk_of
from sendarix.cli.sending import read_pairs
from sendarix.shapes import MetricsFilters, MetricsInterval, MetricsRow

_COLUMNS = (
    "time",
    "queued",
    "delivered",
    "deferred",
    "bounced",
    "complained",
    "delivery_rate",
    "first_attempt",
    "group",
)


def add_to(app: typer.Typer) -> None:
    app.command()(metrics)


def metrics(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="From this time on (RFC 3339); by default the last 24 hours.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    interval: Annotated[str, typer.Option(help="minute, hour, day or total.")] = "hour",
    time_zone: Annotated[str | None, typer.Option(help="Whose hours and days: Europe/Berlin; else UTC.")] = None,
    by: Annotated[str | None, typer.Option(help="One or two, with a comma: tag,template,recipient_domain …")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only such mail: tag=otp; repeat it for more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how much mail went out, how well and how fast."""
    desk = desk_of(context, as_json)
    filters = read_pairs("--where", where) if where else {}
    with desk.client() as client:
        found = client.metrics.get(
            since=since,
            until=until,
            interval=cast("MetricsInterval", interval),
            time_zone=time_zone,
            group_by=by.split(",") if by else (),
            **cast("MetricsFilters", filters),
        )
    desk.rows(found["data"] if as_json else [_row(row) for row in found["data"]], _COLUMNS)


def _row(row: MetricsRow) -> dict[str, Any]:
    """The middle one and the slowest one in a hundred of first attempts; the group's values."""
    first = row["first_attempt_ms"]
    rate = row["delivery_rate"]
    return {
        **{name: str(row[name]) for name in ("queued", "delivered", "deferred", "bounced", "complained")},
        "time": row["time"],
        "delivery_rate": None if rate is None else f"{rate:.1%}",
        "first_attempt": None if first["p50"] is None else f"{first['p50']} ms, {first['p99']} ms",
        "group": ", ".join(value or "-" for value in row["group"].values()),
    }
