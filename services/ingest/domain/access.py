"""Who is asking, and what that key may do (R13). Pure: the key has been looked up already."""

from dataclasses import dataclass
from typing import Literal, get_args

from schemas.tables import ApiKey
from services.ingest.domain.faults import Refused
from services.ingest.domain.keys import KeyEnvironment

Scope = Literal[
    "messages.send",
    "messages.read",
    "events.read",
    "webhooks.read",
    "webhooks.write",
    "suppressions.read",
    "suppressions.write",
    "api_keys.read",
    "api_keys.write",
]
SCOPES: frozenset[str] = frozenset(get_args(Scope))
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated key: its project, and what it may do."""

    project_id: str
    key_id: str
    environment: KeyEnvironment
    scopes: tuple[str, ...]
    requests_per_minute: int


def caller_of(key: ApiKey) -> Caller:
    return Caller(key.project_id, key.id, key.environment, tuple(key.scopes), key.requests_per_minute)


def bearer_of(authorization: str | None) -> str:
    """The key in an Authorization header. Raises Refused (401)."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused("missing_api_key", "There is no API key in this request.")
    return key.strip()


def may(caller: Caller, scope: Scope) -> bool:
    """Admin keys make and revoke keys, and do nothing else."""
    if caller.environment == "admin":
        return scope.startswith("api_keys.")
    return scope in caller.scopes or EVERYTHING in caller.scopes


def require(caller: Caller, scope: Scope) -> None:
    """Raises Refused (403)."""
    if not may(caller, scope):
        raise Refused("insufficient_scope", f"This key may not do that: it needs the scope `{scope}`.")


def invalid_key() -> Refused:
    """One answer for every kind of wrong key, so that it tells nothing."""
    return Refused("invalid_api_key", "This API key is not valid.")
