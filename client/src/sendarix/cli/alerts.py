"""`sendarix alerts`."""

from typing import Annotated, cast

import typer

from sendarix.cli.desk import AsJson, desk_of
from sendarix.cli.sending import read_pairs
from sendarix.shapes import AlertCondition, AlertFilters, AlertSettings

app = typer.Typer(name="alerts", help="Have numbers watched, and see how they stand.", no_args_is_help=True)
_COLUMNS = ("id", "state", "since", "value", "measure", "filters", "condition", "window_seconds", "enabled", "name")
_Id = Annotated[str, typer.Argument(metavar="ID")]


@app.command("list")
def listed(context: typer.Context, as_json: AsJson = False) -> None:
    """List the alerts with how they stand."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.alerts.list()
        desk.rows(found if as_json else ({**alert, "filters": _given(alert["filters"])} for alert in found), _COLUMNS)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    measure: Annotated[str, typer.Option(help="queued, bounced, complained … or bounce_rate, delivery_rate …")],
    above: Annotated[float | None, typer.Option(help="Raised above this; a rate is between 0 and 1.")] = None,
    below: Annotated[float | None, typer.Option(help="Raised below this.")] = None,
    times: Annotated[float | None, typer.Option(help="Raised at so many times what was before.")] = None,
    baseline: Annotated[int | None, typer.Option(help="With --times: seconds before the window; else 3600.")] = None,
    window: Annotated[int | None, typer.Option(help="Seconds that are looked at; else 300.")] = None,
    minimum: Annotated[int | None, typer.Option(help="Messages below which nothing is concluded.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only such mail: tag=otp; repeat it for more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have a number watched; `alert.raised` and `alert.resolved` tell of it."""
    desk = desk_of(context, as_json)
    condition = {"above": above, "below": below, "times": times, "baseline_seconds": baseline}
    filters = read_pairs("--where", where) if where else {}
    alert = {
        "name": name,
        "measure": measure,
        "filters": cast("AlertFilters", filters),
        "condition": cast("AlertCondition", _given(condition)),
        "window_seconds": window,
        "minimum": minimum,
    }
    with desk.client() as client:
        desk.show(client.alerts.create(**cast("AlertSettings", _given(alert))))


@app.command()
def enable(context: typer.Context, alert_id: _Id, as_json: AsJson = False) -> None:
    """Watch it again."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{alert_id} is watched.", client.alerts.update(alert_id, enabled=True))


@app.command()
def disable(context: typer.Context, alert_id: _Id, as_json: AsJson = False) -> None:
    """Watch it no more; an alert that is raised is resolved."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{alert_id} is not watched any more.", client.alerts.update(alert_id, enabled=False))


@app.command()
def delete(context: typer.Context, alert_id: _Id, as_json: AsJson = False) -> None:
    """Remove it."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{alert_id} is removed.", client.alerts.delete(alert_id))


def _given(values: object) -> dict[str, object]:
    return {name: value for name, value in cast("dict[str, object]", values).items() if value is not None}
