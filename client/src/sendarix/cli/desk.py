"""What every command works with: a client, and the two ways to show things (for people, for programs).

What comes from the network is never trusted to a terminal: control characters and markup in it are shown, not obeyed.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sendarix.client import Sendarix

AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON object per line.")]


@dataclass(slots=True)
class Desk:
    """`connect` makes the client from a URL (None: the environment's)."""

    connect: Callable[[str | None], Sendarix] = lambda url: Sendarix(url=url)
    url: str | None = None
    as_json: bool = False
    errors: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))

    def client(self) -> Sendarix:
        """Raises NotConfigured."""
        return self.connect(self.url)

    def say(self, sentence: str, thing: Any) -> None:
        """One result: a sentence for people, the thing itself for programs."""
        typer.echo(line_of(thing) if self.as_json else plain(sentence))

    def show(self, thing: Mapping[str, Any]) -> None:
        """One object, a field per line."""
        if self.as_json:
            typer.echo(line_of(thing))
            return
        grid = Table.grid(padding=(0, 2))
        for name, value in thing.items():
            grid.add_row(Text(name, style="bold"), Text(words(value)))
        _console().print(grid)

    def rows(self, things: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """A list: a table for people, where the last column takes what room there is; a line each for programs."""
        if self.as_json:
            for thing in things:
                typer.echo(line_of(thing))
            return
        table = Table(*(column.replace("_", " ") for column in columns), box=None, pad_edge=False)
        for thing in things:
            table.add_row(*(Text(words(thing.get(column))) for column in columns))
        _console().print(table if table.row_count else "Nothing there.")


def desk_of(context: typer.Context, as_json: bool) -> Desk:
    """The desk that `main` (or a test) put there."""
    desk = context.obj
    assert isinstance(desk, Desk)
    desk.as_json = as_json
    return desk


def line_of(thing: Any) -> str:
    return json.dumps(thing, ensure_ascii=False, separators=(",", ":"))


def words(value: Any) -> str:
    """A value in a cell."""
    match value:
        case None | [] | {} | "":
            return "-"
        case str():
            return plain(value)
        case list() if all(isinstance(part, str) for part in value):
            return plain(", ".join(value))
        case _:
            return plain(line_of(value))


def plain(text: str) -> str:
    """Text that can do nothing to a terminal; line breaks stay."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _console() -> Console:
    """Made when it is used: who redirects stdout gets all of a line, not what fits 80 columns."""
    wide = None if sys.stdout.isatty() else 250
    return Console(highlight=False, width=wide)
