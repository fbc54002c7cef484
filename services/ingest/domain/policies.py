"""Policies (R21, R22): how long mail is retried, how it is encrypted, and how fast it goes, by where it goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.mail import Tls
from schemas.routing import Policy
from services.ingest.domain import paths
from services.ingest.domain.durations import duration_shown, read_age, read_retry_schedule
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names, read_list
from services.ingest.domain.versions import INSTALLATION, frame_shown

PACE = ("connections", "messages_per_connection", "per_second")
FIELDS = frozenset(
    {"name", "provider_groups", "recipient_domains", "tags", "retry_schedule", "max_age", "tls", *PACE}
)  # fmt: skip
MAX_CONNECTIONS = 1000
MAX_MESSAGES = 100_000  # over one connection
MAX_PER_SECOND = 10_000.0


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Everything about a policy that can be changed; None leaves a thing to the next policy."""

    name: str = ""
    provider_groups: tuple[str, ...] = ()
    recipient_domains: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    retry_schedule_ms: tuple[int, ...] | None = None
    max_age_ms: int | None = None
    tls: Tls | None = None
    connections: int | None = None
    messages_per_connection: int | None = None
    per_second: float | None = None

    def content(self) -> dict[str, Any]:
        waits = self.retry_schedule_ms
        return {
            "name": self.name,
            "provider_groups": list(self.provider_groups),
            "recipient_domains": list(self.recipient_domains),
            "tags": list(self.tags),
            "retry_schedule_ms": None if waits is None else list(waits),
            "max_age_ms": self.max_age_ms,
            "tls": self.tls,
            "connections": self.connections,
            "messages_per_connection": self.messages_per_connection,
            "per_second": self.per_second,
        }


NEW = PolicySettings()


def settings_of(policy: Policy) -> PolicySettings:
    waits = policy.retry_schedule_ms
    return PolicySettings(
        name=policy.name,
        provider_groups=tuple(policy.provider_groups),
        recipient_domains=tuple(policy.recipient_domains),
        tags=tuple(policy.tags),
        retry_schedule_ms=None if waits is None else tuple(waits),
        max_age_ms=policy.max_age_ms,
        tls=policy.tls,
        connections=policy.connections,
        messages_per_connection=policy.messages_per_connection,
        per_second=policy.per_second,
    )


def read_policy(body: Mapping[str, Any], before: PolicySettings, owner: str) -> PolicySettings:
    """`before` with the members of `body`; those that are not there stay. Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, frozenset())
    said = _shown_settings(before) | {name: value for name, value in body.items() if name in FIELDS}
    found = PolicySettings(
        name=paths.read_name(said["name"], faults),
        provider_groups=read_list(said["provider_groups"], "provider_groups", paths.provider_group, faults),
        recipient_domains=read_list(said["recipient_domains"], "recipient_domains", paths.domain_or_below, faults),
        tags=read_list(said["tags"], "tags", paths.tag, faults),
        retry_schedule_ms=read_retry_schedule(said["retry_schedule"], faults),
        max_age_ms=read_age(said["max_age"], "max_age", faults),
        tls=paths.read_tls(said["tls"], faults),
        connections=paths.read_number(said["connections"], "connections", MAX_CONNECTIONS, faults),
        messages_per_connection=paths.read_number(
            said["messages_per_connection"], "messages_per_connection", MAX_MESSAGES, faults
        ),
        per_second=paths.read_rate(said["per_second"], "per_second", MAX_PER_SECOND, faults),
    )
    if owner != INSTALLATION:
        message = "Addresses are shared by all projects: only the installation's policies limit their pace."
        faults += [Fault(name, "conflict", message) for name in PACE if said[name] is not None]
    if faults:
        raise invalid(faults)
    return found


def policy_shown(policy: Policy) -> dict[str, Any]:
    return frame_shown(policy) | _shown_settings(settings_of(policy))


def _shown_settings(settings: PolicySettings) -> dict[str, Any]:
    """As the API takes and shows them: durations in words."""
    content = settings.content()
    waits, age = content.pop("retry_schedule_ms"), content.pop("max_age_ms")
    return content | {
        "retry_schedule": None if waits is None else [duration_shown(wait) for wait in waits],
        "max_age": None if age is None else duration_shown(age),
    }
