"""The suppression list as customers change and see it (R11)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from schemas.events import SuppressionOrigin, SuppressionReason
from schemas.tables import Suppression
from services.ingest.domain.addresses import InvalidAddress, parse_address
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names

FIELDS = frozenset({"recipient", "reason"})
UNSUPPORTED = frozenset({"tag"})
REASONS: frozenset[str] = frozenset(get_args(SuppressionReason))
ORIGINS: tuple[SuppressionOrigin, ...] = get_args(SuppressionOrigin)


@dataclass(frozen=True, slots=True)
class NewSuppression:
    recipient: str  # lower case, domain as A-label
    reason: SuppressionReason


def read_suppression(body: Mapping[str, Any]) -> NewSuppression:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, UNSUPPORTED)
    recipient = _recipient(body.get("recipient"), faults)
    reason: Any = body.get("reason")
    if reason is None:
        reason = "manual"
    elif not isinstance(reason, str) or reason not in REASONS:
        faults.append(Fault("reason", "invalid_value", f"A reason is one of: {', '.join(sorted(REASONS))}."))
    if faults:
        raise invalid(faults)
    return NewSuppression(recipient, reason)


def listed_form(address: str) -> str | None:
    """An address as the list holds it; None where it is no address (and so on no list)."""
    try:
        return parse_address(address).envelope.lower()
    except InvalidAddress:
        return None


def read_origin(value: str | None) -> tuple[SuppressionOrigin, ...]:
    """The origins that `?origin=` names; without it, all of them. Raises Refused (422)."""
    if value is None:
        return ORIGINS
    found = tuple(origin for origin in ORIGINS if origin == value)
    if not found:
        raise invalid([Fault("origin", "invalid_value", f"An origin is one of: {', '.join(ORIGINS)}.")])
    return found


def suppression_shown(suppression: Suppression) -> dict[str, Any]:
    return {
        "id": suppression.id,
        "recipient": suppression.recipient,
        "reason": suppression.reason,
        "origin": suppression.origin,
        "source_event_id": suppression.source_event_id,
        "created_at": suppression.created_at,
    }


def _recipient(value: Any, faults: list[Fault]) -> str:
    if value is None:
        faults.append(Fault("recipient", "required", "Give the address."))
        return ""
    listed = listed_form(value) if isinstance(value, str) else None
    if listed is None:
        faults.append(Fault("recipient", "invalid_address", "This is not a mail address."))
        return ""
    return listed
