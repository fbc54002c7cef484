"""`/v1/messages`: a page of them, and one with its timeline, as it stands or as it stood (R30, R36)."""

from collections.abc import Sequence

from fastapi import APIRouter, Response

from chassis.clock import Clock
from chassis.http import ApiError, json_response
from chassis.ids import parse_message_id
from schemas.envelope import to_timestamp
from services.analytics.api.asking import Asked, ProjectId, page
from services.analytics.domain.answers import Json
from services.analytics.domain.cursors import message_cursor
from services.analytics.domain.history import as_it_stood, as_of_query, rows_until
from services.analytics.domain.message_filters import messages_query
from services.analytics.domain.messages import (
    Message,
    may_be_pending,
    message_view,
    message_with_timeline,
    pending_view,
)
from services.analytics.ports import MessageReads


def message_routes(reads: MessageReads, clock: Clock, *, pending_window_ms: int) -> APIRouter:
    router = APIRouter()

    @router.get("/messages")
    async def messages(project_id: ProjectId, asked: Asked) -> Response:
        query = messages_query(asked)
        found = await reads.messages(project_id, query, count=query.limit + 1)
        fingerprint = query.filters.fingerprint
        return page(found, query.limit, message_view, lambda last: message_cursor(last.message_id, fingerprint))

    @router.get("/messages/{message_id}")
    async def message(message_id: str, project_id: ProjectId, asked: Asked) -> Response:
        as_of = as_of_query(asked)
        known = parse_message_id(message_id)
        if known is None or (as_of is not None and as_of < known.created_at_ms):
            raise no_such_message()
        message = await reads.message(project_id, message_id)
        if message is not None:
            # No event later than the state that is shown: the two are read one after the other.
            timeline = await reads.timeline(project_id, message_id, message.sequence)
            return json_response(_shown(message, timeline, as_of))
        young = may_be_pending(known, clock.now_ms(), pending_window_ms)
        if not young or await reads.belongs_elsewhere(project_id, message_id):
            raise no_such_message()
        return json_response(pending_view(known))

    return router


def _shown(message: Message, timeline: Sequence[str], as_of: int | None) -> Json:
    if as_of is None:
        return message_with_timeline(message, timeline)
    rows = rows_until(timeline, as_of)
    if not rows:
        raise no_such_message()
    return message_with_timeline(as_it_stood(rows), [row.event for row in rows]) | {"as_of": to_timestamp(as_of)}


def no_such_message() -> ApiError:
    return ApiError(404, "not_found", "There is no such message.", "Check the id, and the project of the key.")
