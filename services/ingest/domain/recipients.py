"""The address fields of a request: who gets it, in which role, who answers go to. One parser for all (domain/addresses.py).

Each envelope recipient is one message with its own id; To and Cc stand in the header, Bcc in none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.ingest.domain.addresses import Address, InvalidAddress, parse_address
from services.ingest.domain.faults import Fault

MAX_RECIPIENTS = 50  # over recipient, cc and bcc together
MAX_REPLY_TO = 10

Role = Literal["to", "cc", "bcc"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """One envelope recipient and why he is one."""

    address: Address
    role: Role


def read_recipients(body: Mapping[str, Any], faults: list[Fault]) -> tuple[Recipient, ...]:
    """`recipient` (or `to`), `cc` and `bcc`, in this order; what is wrong with them is added to `faults`."""
    to_field = _to_field(body, faults)
    found: list[Recipient] = []
    seen: set[str] = set()
    fields: tuple[tuple[str, Role], ...] = ((to_field, "to"), ("cc", "cc"), ("bcc", "bcc"))
    for field, role in fields:
        addresses = read_addresses(body.get(field), field, MAX_RECIPIENTS, faults)
        for index, address in enumerate(addresses):
            if address.envelope.lower() in seen:
                where = f"{field}[{index}]" if isinstance(body.get(field), list) else field
                faults.append(Fault(where, "duplicate", "This recipient is named twice in recipient, cc and bcc."))
            seen.add(address.envelope.lower())
            found.append(Recipient(address, role))
    if len(found) > MAX_RECIPIENTS and not any(fault.code == "too_many" for fault in faults):
        message = f"There may be {MAX_RECIPIENTS} recipients, with cc and bcc."
        faults.append(Fault(to_field, "too_many", message))
    return tuple(found)


def names_several(body: Mapping[str, Any]) -> bool:
    """Whether the answer lists messages: where a list was given, or copies."""
    return isinstance(body.get("recipient", body.get("to")), list) or bool(body.get("cc") or body.get("bcc"))


def read_reply_to(body: Mapping[str, Any], faults: list[Fault]) -> tuple[Address, ...]:
    return read_addresses(body.get("reply_to"), "reply_to", MAX_REPLY_TO, faults)


def read_address(body: Mapping[str, Any], field: str, faults: list[Fault]) -> Address | None:
    """One address, or null for none."""
    value = body.get(field)
    return None if value is None else _address(value, field, faults)


def read_addresses(value: Any, field: str, limit: int, faults: list[Fault]) -> tuple[Address, ...]:
    """`value` is an address or a list of at most `limit`; null is none."""
    if value is None:
        return ()
    if isinstance(value, list):
        if len(value) > limit:
            faults.append(Fault(field, "too_many", f"There may be {limit} addresses."))
            return ()
        found = [_address(item, f"{field}[{index}]", faults) for index, item in enumerate(value)]
    else:
        found = [_address(value, field, faults)]
    return tuple(address for address in found if address is not None)


def _to_field(body: Mapping[str, Any], faults: list[Fault]) -> str:
    """The name that the recipients are given under."""
    field = "to" if body.get("recipient") is None and body.get("to") is not None else "recipient"
    if field == "recipient" and body.get("to") is not None:
        faults.append(Fault("to", "conflict", "`to` is another name of `recipient`: give one of them."))
    value = body.get(field)
    if value is None:
        faults.append(Fault("recipient", "required", "Give a recipient."))
    elif value == []:
        faults.append(Fault(field, "required", "The list of recipients is empty."))
    return field


def _address(value: Any, field: str, faults: list[Fault]) -> Address | None:
    if not isinstance(value, str):
        faults.append(Fault(field, "invalid_type", "An address is a string: `a@b` or `Name <a@b>`."))
        return None
    try:
        return parse_address(value)
    except InvalidAddress as error:
        faults.append(Fault(field, "invalid_address", str(error)))
        return None
