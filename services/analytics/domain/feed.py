"""The events feed: many partitions as one stream that a cursor can follow without a gap or a repeat.

Inside a partition the log's order is kept, so a message's events come by `sequence`. Between partitions the oldest head
goes first: a partition that is behind joins in when it arrives, and nothing is passed over for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.analytics.domain.cursors import Positions
from services.analytics.domain.rows import Position


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An event that may come next: where it stands, when it happened (Unix ms), and how to load it."""

    position: Position
    event_time: int
    subject: str
    event_id: str


def oldest_first(entries: Sequence[FeedEntry], limit: int) -> list[FeedEntry]:
    """The first `limit` of `entries`: by offset inside a partition, by time (then partition) between their heads."""
    queues: dict[tuple[str, int], list[FeedEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.position.offset, reverse=True):
        queues.setdefault((entry.position.topic, entry.position.partition), []).append(entry)
    page: list[FeedEntry] = []
    while queues and len(page) < limit:
        oldest = min(queues, key=lambda key: (queues[key][-1].event_time, key))
        page.append(queues[oldest].pop())
        if not queues[oldest]:
            del queues[oldest]
    return page


def advanced(positions: Positions, page: Sequence[FeedEntry]) -> Positions:
    """Where a client stands once it has `page`."""
    moved = dict(positions)
    for entry in page:
        moved[entry.position.topic, entry.position.partition] = entry.position.offset
    return moved
