"""Who is asking, and what that key may do (R13). Pure: the key has been looked up already."""

from dataclasses import dataclass
from typing import Literal, get_args

from schemas.envelope import to_timestamp
from schemas.tables import ApiKey
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import KeyEnvironment
from services.ingest.domain.networks import Network, holds, parse_network

Scope = Literal[
    "messages.send",
    "messages.read",
    "events.read",
    "metrics.read",
    "ledger.read",
    "webhooks.read",
    "webhooks.write",
    "suppressions.read",
    "suppressions.write",
    "sandbox.read",
    "templates.read",
    "templates.write",
    "domains.read",
    "domains.write",
    "api_keys.read",
    "api_keys.write",
    "projects.read",
    "projects.write",
    "routes.read",
    "routes.write",
    "upstreams.read",
    "upstreams.write",
    "pools.read",
    "policies.read",
    "policies.write",
    "queues.read",
    "queues.write",
    "alerts.read",
    "alerts.write",
]
# Where mail goes and how fast: a project's own rules with its keys, those of the installation with an admin key.
OF_DELIVERY: frozenset[str] = frozenset(
    {
        "routes.read",
        "routes.write",
        "upstreams.read",
        "upstreams.write",
        "pools.read",
        "policies.read",
        "policies.write",
        "queues.read",
        "queues.write",
    }
)
# What admin keys are for, and all that they may do: a project and its first keys, and what holds for all projects.
OF_ADMINS: frozenset[str] = OF_DELIVERY | {"api_keys.read", "api_keys.write", "projects.read", "projects.write"}
# No other key may have these, `*` does not mean them.
ONLY_OF_ADMINS: frozenset[str] = frozenset({"projects.read", "projects.write"})
SCOPES: frozenset[str] = frozenset(get_args(Scope)) - ONLY_OF_ADMINS  # what a key can be given
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated key: its project, and what it may do."""

    project_id: str
    key_id: str
    environment: KeyEnvironment
    scopes: tuple[str, ...]
    requests_per_minute: int | None  # None: as the project's plan says
    from_domains: tuple[str, ...] = ()  # empty: every domain of the project


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as requests are judged by it: read from the table once, not with every request."""

    caller: Caller
    revoked: bool
    expires_at: str | None  # as timestamps are written, which sort as text
    networks: tuple[Network, ...] | None  # None: from anywhere

    def works_at(self, now_ms: int) -> bool:
        return not self.revoked and (self.expires_at is None or to_timestamp(now_ms) < self.expires_at)

    def check_address(self, address: str) -> None:
        """Raises Refused (403)."""
        if self.networks is not None and not holds(self.networks, address):
            raise Refused("address_not_allowed", "This key may not be used from this address.")


def known_key_of(key: ApiKey) -> KnownKey:
    """A block that does not parse holds no address, so a key with nothing else is refused everywhere."""
    networks = tuple(found for text in key.networks if (found := _network(text)) is not None) if key.networks else None
    return KnownKey(caller_of(key), key.revoked_at is not None, key.expires_at, networks)


def caller_of(key: ApiKey) -> Caller:
    return Caller(
        key.project_id, key.id, key.environment, tuple(key.scopes), key.requests_per_minute, tuple(key.from_domains)
    )  # fmt: skip


def bearer_of(authorization: str | None) -> str:
    """The key in an Authorization header. Raises Refused (401)."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused("missing_api_key", "There is no API key in this request.")
    return key.strip()


def may(caller: Caller, scope: Scope) -> bool:
    """Admin keys see to what is everybody's, and to no project's mail; nobody else makes projects."""
    if caller.environment == "admin":
        return scope in OF_ADMINS
    return scope not in ONLY_OF_ADMINS and (scope in caller.scopes or EVERYTHING in caller.scopes)


def require(caller: Caller, scope: Scope) -> None:
    """Raises Refused (403)."""
    if not may(caller, scope):
        raise Refused("insufficient_scope", f"This key may not do that: it needs the scope `{scope}`.")


def may_send_from(caller: Caller, domain: str) -> bool:
    """Whether this key may send from the domain (A-label); whose domain it is, is another question."""
    return not caller.from_domains or domain in caller.from_domains


def invalid_key() -> Refused:
    """One answer for every kind of wrong key, so that it tells nothing."""
    return Refused("invalid_api_key", "This API key is not valid.")


def _network(text: str) -> Network | None:
    try:
        return parse_network(text)
    except ValueError:
        return None
