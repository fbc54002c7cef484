"""Durations as people write them, `30s`, `5m`, `2h`, `1d`: read with all that is wrong, and shown the same way."""

from datetime import timedelta
from typing import Any

from schemas.topics import parse_duration
from services.ingest.domain.faults import Fault

MAX_RETRIES = 20
SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(hours=48)
# The content of a mail is kept for 7 days: what its retries take together leaves room for queues and slow servers.
LONGEST_SCHEDULE = timedelta(days=5)
_UNITS_MS = (("h", 3_600_000), ("m", 60_000), ("s", 1_000))


def read_retry_schedule(value: Any, faults: list[Fault]) -> tuple[int, ...] | None:
    """The waits in ms; null for the schedule of whoever comes next."""
    if value is None:
        return None
    if not isinstance(value, list):
        faults.append(Fault("retry_schedule", "invalid_type", "It is a list of durations such as `30s` and `5m`."))
        return None
    if not 1 <= len(value) <= MAX_RETRIES:
        code = "too_many" if value else "required"
        faults.append(Fault("retry_schedule", code, f"It has 1 to {MAX_RETRIES} durations."))
        return None
    waits = [_between(text, SHORTEST_WAIT, LONGEST_WAIT) for text in value]
    message = "A wait is a duration such as `30s`, `5m` or `2h`, from 1s to 48h."
    wrong = [number for number, wait in enumerate(waits) if wait is None]
    faults += [Fault(f"retry_schedule[{number}]", "invalid_value", message) for number in wrong]
    known = [wait for wait in waits if wait is not None]
    if not wrong and sum(known, timedelta()) > LONGEST_SCHEDULE:
        message = f"The waits are {LONGEST_SCHEDULE.days} days together at most."
        faults.append(Fault("retry_schedule", "invalid_value", message))
    return tuple(_ms(wait) for wait in known)


def read_age(value: Any, field: str, faults: list[Fault]) -> int | None:
    """An age in ms; null for none."""
    if value is None:
        return None
    age = _between(value, SHORTEST_WAIT, LONGEST_SCHEDULE)
    if age is None:
        message = f"It is a duration such as `10m` or `48h`, from 1s to {LONGEST_SCHEDULE.days}d."
        faults.append(Fault(field, "invalid_value", message))
        return None
    return _ms(age)


def duration_shown(ms: int) -> str:
    """As people write it, in the largest unit that divides it."""
    for unit, unit_ms in _UNITS_MS:
        if ms % unit_ms == 0:
            return f"{ms // unit_ms}{unit}"
    return f"{ms / 1000}s"


def _between(text: Any, shortest: timedelta, longest: timedelta) -> timedelta | None:
    try:
        found = parse_duration(text)
    except OverflowError:
        return None
    return found if isinstance(found, timedelta) and shortest <= found <= longest else None


def _ms(duration: timedelta) -> int:
    return round(duration / timedelta(milliseconds=1))
