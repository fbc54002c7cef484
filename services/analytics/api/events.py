"""`/v1/events`: the feed, oldest first, in pages with a cursor to go on with, or as a stream without end (R35)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from chassis.streaming import EVENT_STREAM, EndlessResponse
from services.analytics.api.asking import Asked, ProjectId
from services.analytics.arrivals import Arrivals, Follower
from services.analytics.domain.answers import list_view, raw
from services.analytics.domain.cursors import Positions, feed_cursor
from services.analytics.domain.event_stream import HEARTBEAT, block, opening
from services.analytics.domain.feed import (
    EventsQuery,
    FeedEntry,
    Heads,
    advanced,
    along,
    event_stream_query,
    events_query,
    oldest_first,
)
from services.analytics.ports import FeedReads, StoreUnavailable

# Below what proxies keep an idle connection for.
HEARTBEAT_SECONDS = 15.0


def event_routes(reads: FeedReads, arrivals: Arrivals) -> APIRouter:
    router = APIRouter()

    @router.get("/events")
    async def events(project_id: ProjectId, asked: Asked, request: Request) -> Response:
        """There is always a cursor to go on with: at the end of the feed it waits for what comes next."""
        if request.headers.get("accept") == EVENT_STREAM:
            return await _stream(reads, arrivals, project_id, event_stream_query(asked, _last_event_id(request)))
        query = events_query(asked)
        page = await _page(reads, project_id, query, await _start(reads, query))
        data = [raw(page.loaded[entry.event_id]) for entry in page.entries if entry.event_id in page.loaded]
        return json_response(list_view(data, has_more=page.has_more, next_cursor=feed_cursor(page.behind)))

    return router


@dataclass(frozen=True, slots=True)
class _Page:
    """What comes next, and its events by id; one that is gone meanwhile is not there."""

    start: Positions
    heads: Heads
    entries: list[FeedEntry]
    loaded: dict[str, str]

    @property
    def behind(self) -> Positions:
        return advanced(self.start, self.heads, self.entries)

    @property
    def has_more(self) -> bool:
        return len(self.heads.entries) > len(self.entries)

    def blocks(self) -> bytes:
        return b"".join(
            block(entry.event_type, self.loaded[entry.event_id], behind)
            for entry, behind in along(self.start, self.heads, self.entries)
            if entry.event_id in self.loaded
        )


async def _page(reads: FeedReads, project_id: str, query: EventsQuery, start: Positions) -> _Page:
    heads = await reads.next_events(project_id, start, query.types, per_partition=query.limit + 1)
    entries = oldest_first(heads.entries, query.limit)
    loaded = dict(await reads.events(project_id, entries)) if entries else {}
    return _Page(start, heads, entries, loaded)


async def _start(reads: FeedReads, query: EventsQuery) -> Positions:
    return await reads.ends() if query.start == "now" else query.start


async def _stream(reads: FeedReads, arrivals: Arrivals, project_id: str, query: EventsQuery) -> Response:
    start = await _start(reads, query)
    follower = arrivals.follow(project_id)
    blocks = _blocks(reads, follower, query, start)
    return EndlessResponse(blocks, arrivals.over, lambda: arrivals.leave(follower))


async def _blocks(reads: FeedReads, follower: Follower, query: EventsQuery, start: Positions) -> AsyncIterator[bytes]:
    """Ends where the store is away: the client comes back, and is told so."""
    yield opening(start)
    has_more = True
    while True:
        if not has_more and not await follower.more_within(HEARTBEAT_SECONDS):
            yield HEARTBEAT
            continue
        follower.more.clear()  # before reading: what comes meanwhile is read in the next round
        try:
            page = await _page(reads, follower.project_id, query, start)
        except StoreUnavailable:
            return
        if page.entries:
            yield page.blocks()
        start, has_more = page.behind, page.has_more


def _last_event_id(request: Request) -> str:
    return request.headers.get("last-event-id", "")
