"""`sendarix templates`."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from sendarix.cli.desk import AsJson, desk_of
from sendarix.cli.sending import read_object
from sendarix.shapes import NewTemplate

app = typer.Typer(name="templates", help="Named content with variables.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A template's name or id.")]
Data = Annotated[str, typer.Option(help="The variables, a JSON object.")]
Version = Annotated[int | None, typer.Option(min=1, help="Else the latest.")]
Source = Annotated[Path | None, typer.Option(exists=True, dir_okay=False)]
_COLUMNS = ("name", "id", "published_version", "latest_version", "updated_at")


@app.command("list")
def listed(context: typer.Context, as_json: AsJson = False) -> None:
    """List the templates."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.rows(client.templates.list(), _COLUMNS)


@app.command()
def get(context: typer.Context, name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Show a template."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.show(client.templates.get(name, version=version))


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The new template's name.")],
    subject: Annotated[str, typer.Option()],
    text: Annotated[str | None, typer.Option()] = None,
    text_file: Source = None,
    html: Annotated[str | None, typer.Option()] = None,
    html_file: Source = None,
    sender: Annotated[str | None, typer.Option("--from", help="Else the mail's, or the project's default.")] = None,
    update: Annotated[bool, typer.Option("--update", help="A new version of a template that is there.")] = False,
    draft: Annotated[
        bool, typer.Option("--draft", help="Only store it: `publish` makes it the one that is sent.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a template, or a new version of one, and publish it."""
    desk = desk_of(context, as_json)
    given: dict[str, Any] = {
        "subject": subject,
        "text": text_file.read_text(encoding="utf-8") if text_file else text,
        "html": html_file.read_text(encoding="utf-8") if html_file else html,
        "from": sender,
        "publish": not draft,
    }
    content = cast("NewTemplate", {field: value for field, value in given.items() if value is not None})
    with desk.client() as client:
        new = {**content, "name": name}
        made = client.templates.update(name, content) if update else client.templates.create(cast("NewTemplate", new))
    stored = f"{name} is stored as version {made.get('version')}"
    desk.say(f"{stored}; `sendarix templates publish {name}` sends it." if draft else f"{stored} and published.", made)


@app.command()
def publish(context: typer.Context, name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Make a version the one that is sent."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        published = client.templates.publish(name, version=version)
    desk.say(f"{name} goes out as version {published['published_version']} from now on.", published)


@app.command()
def render(
    context: typer.Context, name: Name, data: Data = "{}", version: Version = None, as_json: AsJson = False
) -> None:
    """Show what a mail with these variables would say; nothing is sent."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.show(client.templates.render(name, read_object("--data", data), version=version))


@app.command()
def validate(context: typer.Context, name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Say whether a template is well formed, and which variables it has; ends with 1 where it is not."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.templates.validate(name, version=version)
    desk.show(found)
    if not found["valid"]:
        raise typer.Exit(1)
