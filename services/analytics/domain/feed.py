"""The events feed: many partitions as one stream that a cursor can follow without a gap or a repeat.

Inside a partition the log's order is kept, so a message's events come by `sequence`. Between partitions the oldest head
goes first: a partition that is behind joins in when it arrives, and nothing is passed over for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.events import ACCOUNT_EVENTS, MESSAGE_EVENTS
from services.analytics.domain.cursors import Positions, read_feed_cursor
from services.analytics.domain.parameters import MAX_LIMIT, Parameters, Reader, Wrong
from services.analytics.domain.rows import Position

Now = Literal["now"]  # as a place to begin at: the end of the feed
EVENT_TYPES = frozenset(MESSAGE_EVENTS) | frozenset(ACCOUNT_EVENTS)


@dataclass(frozen=True, slots=True)
class EventsQuery:
    types: frozenset[str]  # empty: all
    limit: int
    start: Positions | Now


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An event that may come next: where it stands, when it happened (Unix ms), and how to load it."""

    position: Position
    event_time: int
    subject: str
    event_id: str
    event_type: str


@dataclass(frozen=True, slots=True)
class Heads:
    """The next events of each partition, and up to where each was looked through (the next offset to look at)."""

    entries: Sequence[FeedEntry]
    seen: Positions


def events_query(parameters: Parameters) -> EventsQuery:
    """`GET /v1/events`. Raises InvalidQuery."""
    reader = Reader(parameters)
    types = reader.take("types", _types)
    limit, after = reader.limit(), reader.after(_start)
    reader.finish()
    return EventsQuery(types or frozenset(), limit, after or {})


def event_stream_query(parameters: Parameters, last_event_id: str) -> EventsQuery:
    """The same as a stream; a client that comes back says where it stands by its last event. Raises InvalidQuery."""
    if last_event_id:
        parameters = [*(given for given in parameters if given[0] != "after"), ("after", last_event_id)]
    reader = Reader(parameters)
    types = reader.take("types", _types)
    after = reader.after(_start)
    reader.finish()
    return EventsQuery(types or frozenset(), MAX_LIMIT, after or {})


def oldest_first(entries: Sequence[FeedEntry], limit: int) -> list[FeedEntry]:
    """The first `limit` of `entries`: by offset inside a partition, by time (then partition) between their heads."""
    queues: dict[tuple[str, int], list[FeedEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.position.offset, reverse=True):
        queues.setdefault(entry.position.place, []).append(entry)
    page: list[FeedEntry] = []
    while queues and len(page) < limit:
        oldest = min(queues, key=lambda place: (queues[place][-1].event_time, place))
        page.append(queues[oldest].pop())
        if not queues[oldest]:
            del queues[oldest]
    return page


def advanced(positions: Positions, heads: Heads, page: Sequence[FeedEntry]) -> Positions:
    """Where a client goes on once it has `page`.

    A partition of which something was left goes on behind what was taken; any other behind all that was looked
    through, so that a client of a small project does not look through the others' events again.
    """
    taken = {entry.position: entry.position.place for entry in page}
    left = {entry.position.place for entry in heads.entries if entry.position not in taken}
    moved = dict(positions)
    for place, offset in heads.seen.items():
        if place not in left:
            moved[place] = max(offset, moved.get(place, 0))
    for position, place in taken.items():
        moved[place] = max(position.offset + 1, moved.get(place, 0))
    return moved


def along(positions: Positions, heads: Heads, page: Sequence[FeedEntry]) -> Iterator[tuple[FeedEntry, Positions]]:
    """Each event of a page, and where a client goes on that has got no further."""
    at = dict(positions)
    for entry in page[:-1]:
        at[entry.position.place] = entry.position.offset + 1
        yield entry, at
    if page:
        yield page[-1], advanced(positions, heads, page)


def _start(text: str) -> Positions | Now:
    return "now" if text == "now" else read_feed_cursor(text)


def _types(text: str) -> frozenset[str]:
    types = frozenset(part.strip() for part in text.split(","))
    if not types <= EVENT_TYPES:
        raise Wrong("invalid_value", f"A comma list of {', '.join(sorted(EVENT_TYPES))}.")
    return types
