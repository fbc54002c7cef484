"""`sendarix send`: one mail made of options, or a file of mails."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from sendarix.attachments import attachment
from sendarix.cli.batch import send_file
from sendarix.cli.desk import AsJson, desk_of
from sendarix.shapes import Mail
from sendarix.surroundings import Surroundings


def add_to(app: typer.Typer) -> None:
    app.command()(send)


def send(
    context: typer.Context,
    to: Annotated[list[str] | None, typer.Option(help="A recipient; repeat it for more.")] = None,
    sender: Annotated[str | None, typer.Option("--from", help="Else the project's default.")] = None,
    subject: Annotated[str | None, typer.Option()] = None,
    text: Annotated[str | None, typer.Option(help="The plain text.")] = None,
    text_file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Read the text here.")] = None,
    html: Annotated[str | None, typer.Option(help="The HTML.")] = None,
    html_file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Read the HTML here.")] = None,
    template: Annotated[str | None, typer.Option(help="A template's name or id.")] = None,
    data: Annotated[str | None, typer.Option(help="The template's variables, a JSON object.")] = None,
    attach: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A file to attach.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; repeat it for more.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Repeat it for more.")] = None,
    priority: Annotated[str | None, typer.Option(help="critical, high, normal or bulk.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Send at this time (RFC 3339).")] = None,
    key: Annotated[str | None, typer.Option(help="An idempotency key: the same one never sends twice.")] = None,
    batch: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="A mail per line, as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a mail, or with --batch a file of mails."""
    desk = desk_of(context, as_json)
    given: dict[str, Any] = {
        "recipient": to[0] if to and len(to) == 1 else to,
        "from": sender,
        "subject": subject,
        "text": _content("text", text, text_file),
        "html": _content("html", html, html_file),
        "template": template,
        "template_data": None if data is None else read_object("--data", data),
        "attachments": [attachment(path.name, path.read_bytes()) for path in attach or ()],
        "tags": tag,
        "metadata": read_pairs("--metadata", metadata) if metadata else None,
        "priority": priority,
        "scheduled_time": at,
    }
    mail = {name: value for name, value in given.items() if value is not None and value != []}
    if batch is not None:
        if mail:
            raise typer.BadParameter("The mails of --batch stand in its file: leave the other options out.")
        raise typer.Exit(1 if send_file(desk, batch, key or Surroundings().new_key()) else 0)
    if not to:
        raise typer.BadParameter("Give a recipient with --to, or a file with --batch.")
    with desk.client() as client:
        sent = client.messages.send(cast("Mail", mail), idempotency_key=key)
    desk.say(f"{sent['message_id']} is {sent['status']} for {sent['recipient']}.", sent)


def read_object(option: str, text: str) -> dict[str, Any]:
    """Raises BadParameter."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{option} is a JSON object.")
    return value


def read_pairs(option: str, pairs: list[str]) -> dict[str, str]:
    """Raises BadParameter."""
    parts = [pair.partition("=") for pair in pairs]
    if not all(name and separator for name, separator, _ in parts):
        raise typer.BadParameter(f"{option} is NAME=VALUE.")
    return {name: value for name, _, value in parts}


def _content(name: str, given: str | None, file: Path | None) -> str | None:
    if file is None:
        return given
    if given is not None:
        raise typer.BadParameter(f"Give --{name} or --{name}-file, not both.")
    return file.read_text(encoding="utf-8")
