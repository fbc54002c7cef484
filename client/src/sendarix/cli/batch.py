"""A file of mails, handed over in requests of up to a thousand, with a bar that shows how far it is.

Each request's key is made of one base and its number: the same file with the same base never sends a mail twice.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sendarix.cli.desk import Desk, line_of, plain
from sendarix.client import Sendarix
from sendarix.errors import SendarixError
from sendarix.resources.messages import MAX_BATCH
from sendarix.shapes import BatchEntry, Mail


def read_mails(lines: Sequence[str]) -> list[Mail]:
    """JSON Lines. Raises BadParameter with the line that is none, before anything is sent."""
    mails: list[Mail] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            mail = json.loads(line)
        except ValueError as error:
            raise typer.BadParameter(f"line {number} is not JSON: {error}") from error
        if not isinstance(mail, dict):
            raise typer.BadParameter(f"line {number} is not a JSON object.")
        mails.append(cast("Mail", mail))
    return mails


def send_file(desk: Desk, file: Path, base: str) -> int:
    """How many were refused. Raises SendarixError, having said how to go on."""
    try:
        mails = read_mails(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} can not be read: {error}") from error
    refused = 0
    with desk.client() as client, _bar(desk) as bar:
        task = bar.add_task("sending", total=len(mails))
        for entry in _hand_over(desk, client, mails, base):
            refused += "error" in entry
            _report(desk, entry)
            bar.advance(task)
    if not desk.as_json:
        typer.echo(f"{len(mails) - refused} accepted, {refused} refused.")
    return refused


def _hand_over(desk: Desk, client: Sendarix, mails: Sequence[Mail], base: str) -> Iterator[BatchEntry]:
    for first in range(0, len(mails), MAX_BATCH):
        part = mails[first : first + MAX_BATCH]
        try:
            batch = client.messages.send_batch(part, idempotency_key=f"{base}-{first // MAX_BATCH}")
        except SendarixError:
            desk.errors.print(
                f"The first {first} mails are handed over. Go on with the same file and --key {base}: "
                "what was accepted is not sent again.",
                markup=False,
            )
            raise
        for entry in batch["data"]:
            yield {**entry, "index": first + entry["index"]}


def _report(desk: Desk, entry: BatchEntry) -> None:
    if desk.as_json:
        typer.echo(line_of(entry))
    elif "error" in entry:
        desk.errors.print(plain(f"Mail {entry['index'] + 1} is refused: {_why(entry)}"), markup=False)


def _why(entry: BatchEntry) -> str:
    faults: list[Any] = entry.get("errors", [])
    named = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    return named or entry["error"].get("message", "")


def _bar(desk: Desk) -> Progress:
    """On stderr, and only where a person looks: it goes when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=desk.errors, transient=True, disable=not desk.errors.is_terminal)
