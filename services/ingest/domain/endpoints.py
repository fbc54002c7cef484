"""Webhook endpoints: what a customer may ask for, and what is shown of one. Also which secrets a rotation leaves."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chassis.egress import refusal_of_url
from schemas.envelope import to_ms, to_timestamp
from schemas.events import ACCOUNT_EVENTS, MESSAGE_EVENTS
from schemas.tables import OldSecret, WebhookEndpoint
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names, read_tags

FIELDS = frozenset({"url", "events", "tags", "description", "disabled", "rate_per_second"})
MAX_DESCRIPTION = 500
SLOWEST, FASTEST = 0.1, 10_000  # requests a second
SECRET_BYTES = 32
MOST_OLD_SECRETS = 5  # each is a signature more in every call
EVENT_TYPES = frozenset({*MESSAGE_EVENTS, *ACCOUNT_EVENTS})
# Families of types, as `message.*`.
FAMILIES = frozenset(f"{name.partition('.')[0]}.*" for name in EVENT_TYPES)


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    url: str
    events: tuple[str, ...]
    tags: tuple[str, ...]
    description: str | None
    disabled: bool = False
    rate_per_second: float | None = None


def read_endpoint(body: Mapping[str, Any], *, allow_loopback: bool) -> NewEndpoint:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, frozenset())
    url = _url(body.get("url"), faults, allow_loopback=allow_loopback)
    events = read_event_types(body.get("events"), "events", faults)
    tags = read_tags(body.get("tags"), faults)
    description = _description(body.get("description"), faults)
    disabled = body.get("disabled", False)
    if not isinstance(disabled, bool):
        faults.append(Fault("disabled", "invalid_type", "`disabled` is true or false."))
    rate = _rate(body.get("rate_per_second"), faults)
    if faults:
        raise invalid(faults)
    return NewEndpoint(url, events, tags, description, disabled, rate)


def read_change(body: Mapping[str, Any], before: WebhookEndpoint, *, allow_loopback: bool) -> NewEndpoint:
    """`before` with the members of `body`; those that are not there stay. Raises Refused (422) with every fault."""
    standing = {
        "url": before.url,
        "events": before.events,
        "tags": before.tags,
        "description": before.description,
        "disabled": before.disabled_at is not None,
        "rate_per_second": before.rate_per_second,
    }
    return read_endpoint({**standing, **body}, allow_loopback=allow_loopback)


def changed(before: WebhookEndpoint, asked: NewEndpoint, now_ms: int) -> WebhookEndpoint:
    """The endpoint as asked for. When and why it was disabled, or enabled again, stays where nothing of that changes."""
    # By the clock of whoever disabled it, enabling comes after: else it would count for nothing.
    now = to_timestamp(now_ms if before.disabled_at is None else max(now_ms, to_ms(before.disabled_at)))
    was_disabled = before.disabled_at is not None
    return before.model_copy(
        update={
            "url": asked.url,
            "events": list(asked.events),
            "tags": list(asked.tags),
            "description": asked.description,
            "disabled_at": (before.disabled_at or now) if asked.disabled else None,
            "disabled_reason": (before.disabled_reason if was_disabled else "owner") if asked.disabled else None,
            "rate_per_second": asked.rate_per_second,
            "enabled_at": now if was_disabled and not asked.disabled else before.enabled_at,
        }
    )


def rotated(before: WebhookEndpoint, sealed_secret: str, overlap: timedelta, now_ms: int) -> WebhookEndpoint:
    """The endpoint with a new secret; calls are signed with the one before as well, until the overlap is over."""
    valid = [old for old in before.old_secrets if to_ms(old.until) > now_ms]
    if overlap:
        until = to_timestamp(now_ms + round(overlap.total_seconds() * 1000))
        valid.insert(0, OldSecret(sealed_secret=before.sealed_secret, until=until))
    else:  # whoever says that the old one is worth nothing any more means those before it, too
        valid = []
    return before.model_copy(update={"sealed_secret": sealed_secret, "old_secrets": valid[:MOST_OLD_SECRETS]})


def signing_secret(random_bytes: bytes) -> str:
    """A secret in the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(random_bytes).decode()}"


def endpoint_shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """An endpoint as the API shows it: never its secret."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "tags": endpoint.tags,
        "description": endpoint.description,
        "disabled": endpoint.disabled_at is not None,
        "disabled_at": endpoint.disabled_at,
        "disabled_reason": endpoint.disabled_reason,
        "rate_per_second": endpoint.rate_per_second,
        "old_secrets_until": [old.until for old in endpoint.old_secrets],
        "created_at": endpoint.created_at,
    }


def _url(value: Any, faults: list[Fault], *, allow_loopback: bool) -> str:
    if value is None:
        faults.append(Fault("url", "required", "Give the URL to call."))
    elif not isinstance(value, str):
        faults.append(Fault("url", "invalid_type", "`url` is a string."))
    elif (refusal := refusal_of_url(value, allow_loopback=allow_loopback)) is not None:
        faults.append(Fault("url", "invalid_url", f"This URL is not called: {refusal}."))
    else:
        return value
    return ""


def read_event_types(value: Any, field: str, faults: list[Fault]) -> tuple[str, ...]:
    """A list of types and families, not empty. What is wrong with it is added to `faults`."""
    if not isinstance(value, list) or not value:
        faults.append(Fault(field, "required", 'Give a list of event types, or ["*"] for all of them.'))
        return ()
    for index, name in enumerate(value):
        if not isinstance(name, str) or (name != "*" and name not in EVENT_TYPES and name not in FAMILIES):
            known = ", ".join(sorted(EVENT_TYPES))
            faults.append(
                Fault(
                    f"{field}[{index}]",
                    "unknown_event",
                    f"Event types are: {known}; a family such as `message.*`; or `*`.",
                )
            )
    return tuple(dict.fromkeys(name for name in value if isinstance(name, str)))


def _rate(value: Any, faults: list[Fault]) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        faults.append(Fault("rate_per_second", "invalid_type", "`rate_per_second` is a number."))
    elif not SLOWEST <= value <= FASTEST:
        message = f"`rate_per_second` is between {SLOWEST} and {FASTEST}; null leaves it to the platform."
        faults.append(Fault("rate_per_second", "invalid_value", message))
    else:
        return float(value)
    return None


def _description(value: Any, faults: list[Fault]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        faults.append(Fault("description", "invalid_type", "`description` is a string."))
    elif len(value) > MAX_DESCRIPTION or FORBIDDEN_IN_HEADERS.search(value):
        message = f"A description is one line of at most {MAX_DESCRIPTION} characters."
        faults.append(Fault("description", "invalid_value", message))
    else:
        return value
    return None
