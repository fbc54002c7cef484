"""Webhook endpoints: what a customer may ask for, and what is shown of one."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.egress import refusal_of_url
from schemas.events import MESSAGE_EVENTS
from schemas.tables import WebhookEndpoint
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names, read_tags

FIELDS = frozenset({"url", "events", "tags", "description"})
MAX_DESCRIPTION = 500
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    url: str
    events: tuple[str, ...]
    tags: tuple[str, ...]
    description: str | None


def read_endpoint(body: Mapping[str, Any], *, allow_loopback: bool) -> NewEndpoint:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, frozenset())
    url = _url(body.get("url"), faults, allow_loopback=allow_loopback)
    events = _events(body.get("events"), faults)
    tags = read_tags(body.get("tags"), faults)
    description = _description(body.get("description"), faults)
    if faults:
        raise invalid(faults)
    return NewEndpoint(url, events, tags, description)


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


def _events(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        faults.append(Fault("events", "required", 'Give a list of event types, or ["*"] for all of them.'))
        return ()
    for index, name in enumerate(value):
        if not isinstance(name, str) or (name != "*" and name not in MESSAGE_EVENTS):
            known = ", ".join(sorted(MESSAGE_EVENTS))
            faults.append(Fault(f"events[{index}]", "unknown_event", f"Event types are: {known}; or `*`."))
    return tuple(dict.fromkeys(name for name in value if isinstance(name, str)))


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
