"""`/v1/events`: the feed, oldest first, with a cursor to go on with (R35)."""

from fastapi import APIRouter, Response

from chassis.http import json_response
from services.analytics.api.asking import Asked, ProjectId
from services.analytics.domain.answers import list_view, raw
from services.analytics.domain.cursors import feed_cursor
from services.analytics.domain.feed import advanced, events_query, oldest_first
from services.analytics.ports import FeedReads


def event_routes(reads: FeedReads) -> APIRouter:
    router = APIRouter()

    @router.get("/events")
    async def events(project_id: ProjectId, asked: Asked) -> Response:
        """There is always a cursor to go on with: at the end of the feed it waits for what comes next."""
        query = events_query(asked)
        heads = await reads.next_events(project_id, query.start, query.types, per_partition=query.limit + 1)
        shown = oldest_first(heads.entries, query.limit)
        loaded = await reads.events(project_id, shown) if shown else {}
        data = [raw(loaded[entry.event_id]) for entry in shown if entry.event_id in loaded]
        cursor = feed_cursor(advanced(query.start, heads, shown))
        return json_response(list_view(data, has_more=len(heads.entries) > len(shown), next_cursor=cursor))

    return router
