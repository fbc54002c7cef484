"""Which records of a changelog count: not those of an owner that a newer fence has shut out, nor those that came too late.

Pure: records in, verdicts out.
"""

from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import Counter

from chassis.log import Headers, Incoming
from schemas.states import FENCE_KEY

VOID = Counter("consumer_fenced_records", "Changelog records that are void: late, fenced, or unreadable.", ["topic"])

# A tombstone has no value to carry the owner's marks, so the owner puts them into headers.
EPOCH_HEADER, VALID_UNTIL_HEADER = "owner-epoch", "owner-valid-until-ms"
NO_FENCE = -1


def marks(epoch: int, valid_until_ms: int) -> Headers:
    """The headers of a tombstone that is written under this epoch and lease."""
    return ((EPOCH_HEADER, b"%d" % epoch), (VALID_UNTIL_HEADER, b"%d" % valid_until_ms))


def is_void(record: Incoming, fence: int) -> bool:
    """Whether a state record says nothing. `fence` is the offset of the newest fence before it, or NO_FENCE.

    Void is what an older epoch wrote behind the fence, what landed after its `valid_until_ms`, and what is not ours.
    A record without marks (an epoch, a lease) is live.
    """
    try:
        epoch, valid_until_ms = _marks_of(record)
    except (TypeError, ValueError):
        return True
    return (epoch is not None and epoch < fence) or (
        valid_until_ms is not None and record.timestamp_ms > valid_until_ms
    )


def _marks_of(record: Incoming) -> tuple[int | None, int | None]:
    if record.value is None:
        headers = dict(record.headers)
        return _number(headers.get(EPOCH_HEADER)), _number(headers.get(VALID_UNTIL_HEADER))
    envelope: Any = orjson.loads(record.value)
    data = envelope.get("data") if isinstance(envelope, dict) else None
    if not isinstance(data, dict):
        raise TypeError("not an envelope")
    return _number(data.get("epoch")), _number(data.get("valid_until_ms"))


def _number(found: Any) -> int | None:
    return None if found is None else int(found)


class Changelog:
    """Reads one changelog partition in log order and hands on what is live.

    `fence` is the newest fence's offset, at first that of the newest one before where the reading begins;
    `overwritten` holds the keys whose last record is void.
    """

    def __init__(
        self, live: Callable[[Incoming], None], fence: int = NO_FENCE, fenced: Callable[[int], None] | None = None
    ) -> None:
        self._live = live
        self._fenced = fenced  # told of each newer fence
        self.fence = fence
        self.overwritten: set[str] = set()

    def apply(self, record: Incoming) -> None:
        if record.key == FENCE_KEY:
            self.fence = record.offset
            if self._fenced is not None:
                self._fenced(record.offset)
        elif is_void(record, self.fence):
            VOID.labels(record.topic).inc()
            self.overwritten.add(record.key)
        else:
            self.overwritten.discard(record.key)
            self._live(record)
