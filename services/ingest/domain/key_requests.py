"""What may be asked of API keys: nobody hands out more than they hold themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from schemas.tables import ApiKey
from services.ingest.domain.access import EVERYTHING, SCOPES, Caller
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.fields import faults_of_names

FIELDS = frozenset({"name", "environment", "scopes"})
UNSUPPORTED = frozenset({"from_domains", "networks", "expires_at"})
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class NewKey:
    name: str
    environment: Literal["live", "test"]
    scopes: tuple[str, ...]


def read_key_request(body: Mapping[str, Any], caller: Caller) -> NewKey:
    """Raises Refused: 422 with every fault, 403 where the new key could do more than the caller's."""
    faults = faults_of_names(body, FIELDS, UNSUPPORTED)
    name = _name(body.get("name"), faults)
    environment: Any = body.get("environment")
    if environment not in ("live", "test"):
        faults.append(Fault("environment", "invalid_value", "An environment is `live` or `test`."))
    scopes = _scopes(body.get("scopes"), caller, faults)
    if faults:
        raise invalid(faults)
    new = NewKey(name, environment, scopes)
    _check_grantable(new, caller)
    return new


def key_shown(key: ApiKey) -> dict[str, Any]:
    """A key as lists show it: never the key itself, nor its hash."""
    return {
        "id": key.id,
        "name": key.name,
        "environment": key.environment,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _name(value: Any, faults: list[Fault]) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME and not FORBIDDEN_IN_HEADERS.search(value):
        return value
    code = "required" if value is None else "invalid_value"
    faults.append(Fault("name", code, f"A name is one line of 1 to {MAX_NAME} characters."))
    return ""


def _scopes(value: Any, caller: Caller, faults: list[Fault]) -> tuple[str, ...]:
    if value is None:
        return (EVERYTHING,) if caller.environment == "admin" else caller.scopes
    if not isinstance(value, list) or not value:
        faults.append(Fault("scopes", "invalid_type", "`scopes` is a list of scopes, not an empty one."))
        return ()
    for index, scope in enumerate(value):
        if not isinstance(scope, str) or (scope != EVERYTHING and scope not in SCOPES):
            known = ", ".join(sorted(SCOPES))
            faults.append(Fault(f"scopes[{index}]", "unknown_scope", f"Scopes are: {known}; or `*`."))
    return tuple(dict.fromkeys(scope for scope in value if isinstance(scope, str)))


def _check_grantable(new: NewKey, caller: Caller) -> None:
    if caller.environment == "admin":
        return
    if caller.environment == "test" and new.environment == "live":
        raise Refused("insufficient_scope", "A test key can not create a live key.")
    if EVERYTHING not in caller.scopes and not set(new.scopes) <= set(caller.scopes):
        raise Refused("insufficient_scope", "A key can not grant scopes that it does not have.")
