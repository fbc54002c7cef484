"""`sendarix`: the commands put together, and what an error looks like. Exit status: 0 done, 1 refused or failed, 2 wrong use."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sendarix.cli import (
    alerts,
    dead_letters,
    domains,
    ledger,
    messages,
    metrics,
    queues,
    sending,
    suppressions,
    templates,
    webhooks,
)
from sendarix.cli.desk import Desk, line_of, plain
from sendarix.errors import NotConfigured, RateLimited, SendarixError, Unavailable, ValidationError


class _Group(TyperGroup):
    """Turns what the library raises into words and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SendarixError as error:
            _tell(ctx.obj, error)
            raise typer.Exit(2 if isinstance(error, NotConfigured) else 1) from error
        except ValueError as error:  # an id or a time that can not be sent
            ctx.obj.errors.print(plain(f"Error: {error}"), markup=False)
            raise typer.Exit(2) from error


app = typer.Typer(
    name="sendarix",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and so a key
    rich_markup_mode=None,
    epilog="The API key is taken from SENDARIX_API_KEY. Exit status: 0 done, 1 refused or failed, 2 wrong use.",
)


@app.callback()
def _before(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="SENDARIX_URL", help="Where the API is.", show_default="http://127.0.0.1:18080"),
    ] = None,
) -> None:
    """Send mail, and see what becomes of it."""
    context.obj.url = url


sending.add_to(app)
messages.add_to(app)
metrics.add_to(app)
ledger.add_to(app)
app.add_typer(templates.app)
app.add_typer(suppressions.app)
app.add_typer(domains.app)
app.add_typer(webhooks.app)
app.add_typer(queues.app)
app.add_typer(dead_letters.app)
app.add_typer(alerts.app)


def main() -> None:
    app(obj=Desk())


def _tell(desk: Desk, error: SendarixError) -> None:
    if desk.as_json:
        desk.errors.print(line_of(_as_object(error)), markup=False)
    else:
        desk.errors.print(plain(f"Error: {error}"), markup=False)


def _as_object(error: SendarixError) -> dict[str, Any]:
    """The API's error shape, with what only the client knows."""
    told: dict[str, Any] = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    match error:
        case ValidationError(errors=errors) if errors:
            told["errors"] = [{k: v for k, v in asdict(fault).items() if v is not None} for fault in errors]
        case RateLimited():
            told["retry_after"] = error.retry_after
        case Unavailable():
            told["outcome_unknown"] = error.outcome_unknown
            told["idempotency_key"] = error.idempotency_key
        case _:
            pass
    return {**told, "request_id": error.request_id}
