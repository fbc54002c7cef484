"""The suppression list as customers change and see it (R11): causes by address, each for the project or for one tag."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from schemas.events import SuppressionOrigin, SuppressionReason
from schemas.tables import Suppression
from services.ingest.domain.addresses import InvalidAddress, parse_address
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names, is_tag

FIELDS = frozenset({"recipient", "reason", "tag"})
REASONS: frozenset[str] = frozenset(get_args(SuppressionReason))
ORIGINS: tuple[SuppressionOrigin, ...] = get_args(SuppressionOrigin)
WHOLE_PROJECT = "*"  # the scope of what holds for mail of every tag
MAX_SEARCH_CHARACTERS = 320  # an address has no more


@dataclass(frozen=True, slots=True)
class NewSuppression:
    recipient: str  # lower case, domain as A-label
    reason: SuppressionReason
    scope: str  # a tag, or WHOLE_PROJECT

    @property
    def origin(self) -> SuppressionOrigin:
        """An unsubscription is a cause of its own, whoever tells of it: neither it nor a ban may overwrite the other."""
        return "unsubscribe" if self.reason == "unsubscribed" else "api"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which causes are meant; None: whatever it is."""

    search: str | None = None  # a part of the address, lower case
    reason: str | None = None
    origin: str | None = None
    scope: str | None = None

    def takes(self, suppression: Suppression) -> bool:
        return (
            (self.reason is None or suppression.reason == self.reason)
            and (self.origin is None or suppression.origin == self.origin)
            and (self.scope is None or suppression.scope == self.scope)
            and (self.search is None or self.search in suppression.recipient)
        )


EVERYTHING = Selection()


def read_suppression(body: Mapping[str, Any], only: SuppressionReason | None = None) -> NewSuppression:
    """`only`: the one reason that this list is for. Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, frozenset())
    recipient = _recipient(body.get("recipient"), faults)
    allowed = REASONS if only is None else {only}
    reason: Any = body.get("reason")
    if reason is None:
        reason = only or "manual"
    elif not isinstance(reason, str) or reason not in allowed:
        faults.append(Fault("reason", "invalid_value", f"A reason is one of: {', '.join(sorted(allowed))}."))
    tag: Any = body.get("tag")
    if tag is not None and not is_tag(tag):
        faults.append(Fault("tag", "invalid_tag", "A tag is 1 to 64 letters, digits, hyphens or underscores."))
    if faults:
        raise invalid(faults)
    return NewSuppression(recipient, reason, WHOLE_PROJECT if tag is None else tag)


def listed_form(address: str) -> str | None:
    """An address as the list holds it; None where it is no address (and so on no list)."""
    try:
        return parse_address(address).envelope.lower()
    except InvalidAddress:
        return None


def read_selection(query: Mapping[str, str], only: SuppressionReason | None = None) -> Selection:
    """The filters of a request: `search`, `reason`, `origin`, `tag`. Raises Refused (422) with every fault."""
    faults: list[Fault] = []
    reason = _one_of(query, "reason", REASONS if only is None else {only}, faults)
    origin = _one_of(query, "origin", ORIGINS, faults)
    tag, search = query.get("tag"), query.get("search")
    if tag is not None and tag != WHOLE_PROJECT and not is_tag(tag):
        faults.append(Fault("tag", "invalid_tag", "Give a tag, or `*` for what holds for the whole project."))
    if search is not None and not 0 < len(search) <= MAX_SEARCH_CHARACTERS:
        message = f"Give a part of an address, 1 to {MAX_SEARCH_CHARACTERS} characters."
        faults.append(Fault("search", "invalid_value", message))
    if faults:
        raise invalid(faults)
    return Selection(None if search is None else search.lower(), only or reason, origin, tag)


def suppression_shown(suppression: Suppression) -> dict[str, Any]:
    return {
        "id": suppression.id,
        "recipient": suppression.recipient,
        "reason": suppression.reason,
        "origin": suppression.origin,
        "tag": None if suppression.scope == WHOLE_PROJECT else suppression.scope,
        "source_event_id": suppression.source_event_id,
        "created_at": suppression.created_at,
    }


def address_shown(suppressions: Sequence[Suppression]) -> dict[str, Any]:
    """One address: the newest cause, and the history of all that still hold, newest first."""
    ordered = sorted(suppressions, key=lambda entry: (entry.created_at, entry.id), reverse=True)
    return {**suppression_shown(ordered[0]), "causes": [suppression_shown(entry) for entry in ordered]}


def _one_of(query: Mapping[str, str], name: str, allowed: Collection[str], faults: list[Fault]) -> str | None:
    value = query.get(name)
    if value is not None and value not in allowed:
        faults.append(Fault(name, "invalid_value", f"`{name}` is one of: {', '.join(sorted(allowed))}."))
    return value


def _recipient(value: Any, faults: list[Fault]) -> str:
    if value is None:
        faults.append(Fault("recipient", "required", "Give the address."))
        return ""
    listed = listed_form(value) if isinstance(value, str) else None
    if listed is None:
        faults.append(Fault("recipient", "invalid_address", "This is not a mail address."))
        return ""
    return listed
