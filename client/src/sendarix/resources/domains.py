"""`/v1/domains`: the domains that mail may come from, and the DNS records that they need."""

from typing import Any

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of
from sendarix.shapes import Domain


def create(domain: str, *, ed25519: bool = False) -> Call[Domain]:
    """The answer says what to publish. `ed25519`: a second signature beside RSA's."""
    body = {"domain": domain, "ed25519": True} if ed25519 else {"domain": domain}
    return Call(Request("POST", path_of("domains"), body=body_of(body), repeatable=False))


def listed() -> Listing[Domain]:
    return Listing(Request("GET", path_of("domains")))


def get(domain_id: str) -> Call[Domain]:
    return Call(Request("GET", path_of("domains", domain_id)))


def verify(domain_id: str) -> Call[Domain]:
    """Looks each record up now."""
    return Call(Request("POST", path_of("domains", domain_id, "verify"), body=b"{}"))


def delete(domain_id: str) -> Call[dict[str, Any] | None]:
    """Once this is answered no mail from it is accepted."""
    return Call(Request("DELETE", path_of("domains", domain_id)))


class Domains(Resource):
    """`client.domains`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    verify = ask(verify)
    delete = ask(delete)


class AsyncDomains(AsyncResource):
    """`client.domains`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    verify = ask_async(verify)
    delete = ask_async(delete)
