"""What may be asked of API keys: nobody hands out, or takes over, more than they hold themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from schemas.envelope import to_timestamp
from schemas.tables import ApiKey
from schemas.topics import parse_duration
from services.ingest.domain.access import EVERYTHING, SCOPES, Caller
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.fields import domain_name, faults_of_names, read_list
from services.ingest.domain.keys import KeyEnvironment
from services.ingest.domain.networks import parse_network, within
from services.ingest.domain.times import read_time

FIELDS = frozenset({"name", "environment", "scopes", "from_domains", "networks", "expires_at", "project_id"})
ROTATION_FIELDS = frozenset({"overlap"})
NOTHING: frozenset[str] = frozenset()
MAX_NAME = 100
MAX_DOMAINS = 50
MAX_NETWORKS = 50
DEFAULT_OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=30)  # a rotation that takes longer is two keys


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What a key may do; a new one is made with it, a rotated one keeps it."""

    environment: KeyEnvironment
    scopes: tuple[str, ...]
    from_domains: tuple[str, ...]
    networks: tuple[str, ...]
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class NewKey:
    name: str
    project_id: str
    rights: KeyRights


def rights_of(key: ApiKey) -> KeyRights:
    return KeyRights(
        key.environment, tuple(key.scopes), tuple(key.from_domains), tuple(key.networks), key.expires_at
    )  # fmt: skip


def read_key_request(body: Mapping[str, Any], caller: Caller, holder: KeyRights, now_ms: int) -> NewKey:
    """`holder`: the rights of the caller's own key, which bound the new one's.

    Raises Refused: 422 with every fault, 403 where the new key could do more than the caller's.
    """
    faults = faults_of_names(body, FIELDS, NOTHING)
    name = _name(body.get("name"), faults)
    environment: Any = body.get("environment")
    if environment not in ("live", "test"):
        faults.append(Fault("environment", "invalid_value", "An environment is `live` or `test`."))
    scopes = _scopes(body.get("scopes"), caller, faults)
    domains = _list(body, "from_domains", MAX_DOMAINS, holder.from_domains, domain_name, faults)
    networks = _list(body, "networks", MAX_NETWORKS, holder.networks, _network, faults)
    expires_at = _expiry(body, holder.expires_at, now_ms, faults)
    project_id = body.get("project_id", caller.project_id)
    if not isinstance(project_id, str) or (caller.environment != "admin" and project_id != caller.project_id):
        faults.append(unknown_project())
    if faults:
        raise invalid(faults)
    rights = KeyRights(environment, scopes, domains, networks, expires_at)
    check_grantable(rights, holder)
    return NewKey(name, project_id, rights)


def read_rotation(body: Mapping[str, Any]) -> timedelta:
    """How long the old key goes on. Raises Refused (422)."""
    faults = faults_of_names(body, ROTATION_FIELDS, NOTHING)
    value = body.get("overlap")
    overlap = DEFAULT_OVERLAP if value is None else _overlap(value)
    if overlap is None:
        message = f"An overlap is `0`, or a duration such as `24h`, of at most {MAX_OVERLAP.days}d."
        faults.append(Fault("overlap", "invalid_value", message))
    if faults or overlap is None:
        raise invalid(faults)
    return overlap


def check_grantable(rights: KeyRights, holder: KeyRights) -> None:
    """Raises Refused (403) where a key with `rights` could do more than its maker, who has those of `holder`."""
    if holder.environment == "admin":
        return
    if rights.environment == "admin":
        raise Refused("insufficient_scope", "Only an admin key makes, rotates or revokes admin keys.")
    if holder.environment == "test" and rights.environment == "live":
        raise Refused("insufficient_scope", "A test key has no power over live keys.")
    if EVERYTHING not in holder.scopes and not set(rights.scopes) <= set(holder.scopes):
        raise Refused("insufficient_scope", "A key can not grant scopes that it does not have.")
    if holder.from_domains and not (rights.from_domains and set(rights.from_domains) <= set(holder.from_domains)):
        raise Refused("insufficient_scope", "A key can not grant sender domains that it does not have.")
    if holder.networks and not (rights.networks and _all_within(rights.networks, holder.networks)):
        raise Refused("insufficient_scope", "A key can not grant networks that it may not be used from.")
    if holder.expires_at is not None and (rights.expires_at is None or rights.expires_at > holder.expires_at):
        raise Refused("insufficient_scope", "A key can not grant what outlives it.")


def check_manageable(key: ApiKey, holder: KeyRights) -> None:
    """Raises Refused (403) where `holder` has no power over the environment of `key`."""
    check_grantable(KeyRights(key.environment, (), holder.from_domains, holder.networks, holder.expires_at), holder)


def unknown_project() -> Fault:
    """The same for one that is not there and one that is another's."""
    return Fault("project_id", "unknown_project", "There is no such project.")


def key_shown(key: ApiKey, last_used_at: str | None) -> dict[str, Any]:
    """A key as lists show it: never the key itself, nor its hash."""
    return {
        "id": key.id,
        "project_id": key.project_id,
        "name": key.name,
        "environment": key.environment,
        "scopes": key.scopes,
        "from_domains": key.from_domains,
        "networks": key.networks,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": last_used_at,
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


def _list(
    body: Mapping[str, Any],
    field: str,
    limit: int,
    inherited: tuple[str, ...],
    read: Callable[[str], str],
    faults: list[Fault],
) -> tuple[str, ...]:
    """Absent or null: as the maker's. `read` raises ValueError, whose message is the fault's."""
    value = body.get(field)
    return inherited if value is None else read_list(value, field, read, faults, limit)


def _network(text: str) -> str:
    """As it is shown and stored. Raises ValueError."""
    try:
        return str(parse_network(text))
    except ValueError:
        message = "A network is a CIDR block without bits beyond its prefix, `192.0.2.0/24`, or one address."
        raise ValueError(message) from None


def _all_within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    blocks = [parse_network(text) for text in outer]
    return all(within(parse_network(text), blocks) for text in inner)


def _expiry(body: Mapping[str, Any], inherited: str | None, now_ms: int, faults: list[Fault]) -> str | None:
    ms = read_time(body, "expires_at", faults)
    if ms is None:
        return inherited
    if ms <= now_ms:
        faults.append(Fault("expires_at", "in_the_past", "This time has passed: the key would never work."))
    return to_timestamp(ms)


def _overlap(value: Any) -> timedelta | None:
    if value in (0, "0") and not isinstance(value, bool):
        return timedelta(0)
    try:
        found = parse_duration(value)
    except OverflowError:
        return None
    return found if isinstance(found, timedelta) and found <= MAX_OVERLAP else None
