"""State records as the local file indexes them: what a restore, and every record that comes back, puts there.

It must never hold more than the record says, but for what the tables say of its queue at the moment.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson

from chassis.log import Incoming
from services.router.domain.admission import standing
from services.router.domain.records import listed_address
from services.router.domain.timers import next_timer
from services.router.ports import Row

# (project id, destination, paths it waits for): what keeps it from being called, as a text.
BarOf = Callable[[str, str, Sequence[str]], str | None]


def row_of(record: Incoming, group_of: Callable[[str], str], bar_of: BarOf) -> Row:
    """The row of a message that is known. Ours alone write these records, so a fault in one is a bug."""
    assert record.value is not None
    envelope = orjson.loads(record.value)
    data, project_id = envelope["data"], envelope["projectid"]
    destination = data["destination"]
    closed = data["closed_at_ms"] is not None
    stands = standing(
        destination=destination,
        priority=data["priority"],
        status=data["status"],
        in_flight=data["in_flight"],
        reason=data["reason"],
        due_at_ms=data["due_at_ms"],
        closed=closed,
    )
    bar = bar_of(project_id, destination, data.get("waits_for", ())) if stands.queued else None
    timer = next_timer(
        status=data["status"],
        in_flight=data["in_flight"],
        reason=data["reason"],
        due_at_ms=data["due_at_ms"],
        deliver_before_ms=data.get("deliver_before_ms"),  # older records have none
        first_dispatched_at_ms=data["first_dispatched_at_ms"],
        closed=closed,
    )
    return Row(
        message_id=record.key,
        project_id=project_id,
        address=listed_address(data["recipient"], destination),
        standing=replace(stands, stopped=bar is not None) if stands.queued else stands,
        group=group_of(destination),
        bar=bar,
        reason=data["reason"],
        path=data.get("path"),
        changed_ms=record.timestamp_ms,
        attempt=data["attempt"],
        dispatch=data["dispatch"],
        rank_ms=data["rank_ms"],
        submit_offset=-1 if data["submit_offset"] is None else data["submit_offset"],
        created_at_ms=data["created_at_ms"],
        timer=None if timer is None else timer[0],
        due_at_ms=None if timer is None else timer[1],
        closed_at_ms=data["closed_at_ms"],
        record=record.value,
    )
