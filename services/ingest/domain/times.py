"""The times a customer may name: when a mail is to go out (R6), and when it is too late for it (R2).

Reading is pure: the same text gives the same milliseconds whenever it is read. What depends on the clock is checked
apart, once, when a request is first taken.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from schemas.mail import OnUnknown
from services.ingest.domain.faults import Fault, invalid

MAX_AHEAD_MS = 366 * 24 * 3600 * 1000  # R6: a year, whichever year it is
PAST_GRACE_MS = 60_000  # a time that passed while the request was made is "at once"; further back it is a mistake

# RFC 3339; without an offset it is UTC (R2). Other forms of ISO 8601 (weeks, days, no colons) leave room for errors.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(?P<offset>[Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_300_799_999  # the end of the year 9999: what a timestamp can say
_MILLISECOND = timedelta(milliseconds=1)
_ON_UNKNOWN = frozenset(get_args(OnUnknown))


@dataclass(frozen=True, slots=True)
class Times:
    """When a message goes out, as Unix ms: not before `scheduled_ms`, not after `deliver_before_ms`."""

    scheduled_ms: int | None = None
    deliver_before_ms: int | None = None

    def in_order(self) -> bool:
        if self.scheduled_ms is None or self.deliver_before_ms is None:
            return True
        return self.scheduled_ms < self.deliver_before_ms

    def waits(self, now_ms: int) -> bool:
        """Whether it is scheduled, and not due at once."""
        return self.scheduled_ms is not None and self.scheduled_ms > now_ms


def parse_time(text: str) -> int | None:
    """Unix milliseconds of an RFC 3339 time; None for anything else, the 30th of February and leap seconds included."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    aware = moment if found["offset"] else moment.replace(tzinfo=UTC)
    ms = (aware - _EPOCH) // _MILLISECOND
    return ms if 0 <= ms <= _LAST_MS else None


def read_time(body: Mapping[str, Any], field: str, faults: list[Fault]) -> int | None:
    """The member as Unix ms; null is none. What is wrong with it is added to `faults`."""
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        faults.append(Fault(field, "invalid_type", f"`{field}` is a string such as 2027-01-31T09:00:00Z."))
        return None
    ms = parse_time(value)
    if ms is None:
        message = "It is no time in RFC 3339: write 2027-01-31T09:00:00Z, or another offset as +02:00."
        faults.append(Fault(field, "invalid_time", message))
    return ms


def read_times(body: Mapping[str, Any], faults: list[Fault]) -> Times:
    """`scheduled_time` and `deliver_before`, as far as no clock is needed to judge them."""
    times = Times(read_time(body, "scheduled_time", faults), read_time(body, "deliver_before", faults))
    if not times.in_order():
        message = "It is not after `scheduled_time`: the mail could never be sent."
        faults.append(Fault("deliver_before", "before_scheduled_time", message))
    return times


def read_on_unknown(body: Mapping[str, Any], faults: list[Fault]) -> OnUnknown:
    """What happens to a mail of which nobody can know whether it has arrived."""
    value = body.get("on_unknown")
    if value is None:
        return "resend"
    if not isinstance(value, str) or value not in _ON_UNKNOWN:
        faults.append(Fault("on_unknown", "invalid_value", "`on_unknown` is resend or hold."))
        return "resend"
    on_unknown: OnUnknown = value  # type: ignore[assignment]  # it is in the Literal: checked in the line above
    return on_unknown


def check_times(times: Times, now_ms: int) -> None:
    """At the first acceptance only: a repeat comes later, and must not be judged anew. Raises Refused (422)."""
    faults = []
    if times.scheduled_ms is not None and (fault := _scheduled_fault(times.scheduled_ms, now_ms)) is not None:
        faults.append(fault)
    if times.deliver_before_ms is not None and times.deliver_before_ms <= now_ms:
        faults.append(Fault("deliver_before", "in_the_past", "This time has passed: nothing would be sent."))
    if faults:
        raise invalid(faults)


def _scheduled_fault(scheduled_ms: int, now_ms: int) -> Fault | None:
    if scheduled_ms < now_ms - PAST_GRACE_MS:
        return Fault("scheduled_time", "in_the_past", "This time has passed; leave it out to send at once.")
    if scheduled_ms > now_ms + MAX_AHEAD_MS:
        return Fault("scheduled_time", "too_far_ahead", "A mail is scheduled at most one year ahead.")
    return None
