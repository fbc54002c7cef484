"""`sendarix domains`."""

from typing import Annotated

import typer

from sendarix.cli.desk import AsJson, Desk, desk_of
from sendarix.shapes import Domain

app = typer.Typer(name="domains", help="Domains that mail may come from.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID")]
_COLUMNS = ("id", "status", "checked_at", "domain")
_RECORD = ("purpose", "status", "type", "name")  # the value has 400 characters, which no table shows whole


@app.command("list")
def listed(context: typer.Context, as_json: AsJson = False) -> None:
    """List the domains."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.rows(client.domains.list(), _COLUMNS)


@app.command()
def create(
    context: typer.Context,
    domain: Annotated[str, typer.Argument(metavar="DOMAIN")],
    ed25519: Annotated[bool, typer.Option("--ed25519", help="A second signature, beside RSA's.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a domain: shows the DNS records to publish."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        _tell(desk, client.domains.create(domain, ed25519=ed25519))


@app.command()
def get(context: typer.Context, domain_id: Id, as_json: AsJson = False) -> None:
    """Show a domain and its records, as they stood at the last look."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        _tell(desk, client.domains.get(domain_id))


@app.command()
def verify(context: typer.Context, domain_id: Id, as_json: AsJson = False) -> None:
    """Look the records up now. Exit status 1 where the domain is not verified."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        found = client.domains.verify(domain_id)
    _tell(desk, found)
    if found["status"] != "verified":
        raise typer.Exit(1)


@app.command()
def delete(context: typer.Context, domain_id: Id, as_json: AsJson = False) -> None:
    """Remove a domain; no more mail is accepted from it."""
    desk = desk_of(context, as_json)
    with desk.client() as client:
        desk.say(f"{domain_id} is deleted.", client.domains.delete(domain_id))


def _tell(desk: Desk, domain: Domain) -> None:
    """The records as a table, then each to be copied whole; for programs the domain as one object."""
    desk.say(f"{domain['domain']} ({domain['id']}) is {domain['status']}. Records to publish:", domain)
    if desk.as_json:
        return
    desk.rows(domain["records"], _RECORD)
    for record in domain["records"]:
        desk.say(f"\n{record['name']} {record['type']}\n  {record['value']}", record)
        if record["found"] and record["status"] != "found":
            desk.say(f"  stands there: {'; '.join(record['found'])}", record)
