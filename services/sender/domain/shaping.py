"""How fast mail may go where, before anything is learned: defaults per provider, what an upstream's owner agreed, policies.

Pure: the defaults are data that ships with the code (shaping.toml). A limit is never below one connection, however many
replicas share it.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from schemas.mail import Tls
from schemas.routing import Policy

# A new provider, or one that nobody knows yet, is met with as few connections as this (Postfix starts with two as well).
_FIRST = 2
# A smarthost carries everybody's mail, and what it says may be about one of them: it is not closed for longer.
_LONGEST_CLOSURE_OF_A_SMARTHOST_MS = 600_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What holds for one address of ours at one provider, or for a smarthost, of this process."""

    connections: int
    messages_per_connection: int
    per_second: float | None  # mails
    idle: float  # seconds
    tls: Tls
    first: int = _FIRST  # connections, before anything is learned
    longest_closure_ms: int | None = None  # None: as long as it says


@dataclass(frozen=True, slots=True)
class Override:
    """What the installation's policies say; None leaves it as it is."""

    connections: int | None = None
    messages_per_connection: int | None = None
    per_second: float | None = None


def load(raw: Mapping[str, Any]) -> Mapping[str, Shape]:
    """By the name of the provider."""
    return {name: Shape(**(raw["default"] | row)) for name, row in raw.items()}


SHAPES = load(tomllib.loads(files(__package__).joinpath("shaping.toml").read_text(encoding="utf-8")))


def of_provider(group: str) -> Shape:
    """Where nobody knows the provider the group is the destination itself."""
    return SHAPES.get(group, SHAPES["default"])


def of_smarthost(*, connections: int, messages_per_connection: int, per_second: float | None, idle: float) -> Shape:
    """Its owner and we have agreed: nothing to feel our way to."""
    return Shape(
        connections,
        messages_per_connection,
        per_second,
        idle,
        "required",
        first=connections,
        longest_closure_ms=_LONGEST_CLOSURE_OF_A_SMARTHOST_MS,
    )


def shaped(shape: Shape, override: Override, replicas: int) -> Shape:
    """As the policies say, and this process's part of it."""
    connections = override.connections or shape.connections
    per_second = override.per_second or shape.per_second
    return replace(
        shape,
        connections=max(1, connections // replicas),
        messages_per_connection=override.messages_per_connection or shape.messages_per_connection,
        per_second=None if per_second is None else per_second / replicas,
        first=max(1, min(shape.first, connections) // replicas),
    )


def override_for(policies: Iterable[Policy], group: str, destination: str | None = None) -> Override:
    """What they say of a provider group, or (with a destination) of one domain: the most specific first, then the older.

    Limits are shared by all mail, so those of one project, or of some tags, are none. A smarthost's were agreed with its
    owner: only a policy that names it changes them.
    """
    concerned = sorted(
        (policy for policy in policies if _is_ours(policy) and _concerns(policy, group, destination)),
        key=lambda policy: (-_length(policy, destination), not policy.provider_groups, policy.created_at, policy.id),
    )
    return Override(
        next((p.connections for p in concerned if p.connections is not None), None),
        next((p.messages_per_connection for p in concerned if p.messages_per_connection is not None), None),
        next((p.per_second for p in concerned if p.per_second is not None), None),
    )


def _is_ours(policy: Policy) -> bool:
    return policy.project_id == "" and policy.deleted_at is None and not policy.tags


def _concerns(policy: Policy, group: str, destination: str | None) -> bool:
    if policy.provider_groups and group not in policy.provider_groups:
        return False
    if destination is None:
        return not policy.recipient_domains
    return any(_fits(pattern, destination) for pattern in policy.recipient_domains)


def _length(policy: Policy, destination: str | None) -> int:
    """Of the domain that fits best: a whole name before `*.`, a longer one before a shorter."""
    if destination is None:
        return 0
    return max(
        len(pattern) + 1000 * (not pattern.startswith("*."))
        for pattern in policy.recipient_domains
        if _fits(pattern, destination)
    )


def _fits(pattern: str, domain: str) -> bool:
    """`*.example.org`: what is below it."""
    return domain.endswith(pattern[1:]) if pattern.startswith("*.") else domain == pattern
