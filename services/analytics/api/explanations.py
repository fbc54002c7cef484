"""`/v1/messages/{id}/explain`: why it went as it did, now or as it was known at a time (R36)."""

from fastapi import APIRouter, Response

from chassis.clock import Clock
from chassis.http import json_response
from chassis.ids import parse_message_id
from services.analytics.api.asking import Asked, ProjectId
from services.analytics.api.messages import no_such_message
from services.analytics.domain.explanation import explain, pending_explanation
from services.analytics.domain.history import as_of_query, events_until
from services.analytics.domain.messages import may_be_pending
from services.analytics.ports import MessageReads

_LAST = 2**32 - 1  # of any sequence


def explanation_routes(reads: MessageReads, clock: Clock, *, pending_window_ms: int) -> APIRouter:
    router = APIRouter()

    @router.get("/messages/{message_id}/explain")
    async def explained(message_id: str, project_id: ProjectId, asked: Asked) -> Response:
        as_of = as_of_query(asked)
        known, now_ms = parse_message_id(message_id), clock.now_ms()
        if known is None:
            raise no_such_message()
        events = events_until(await reads.timeline(project_id, message_id, _LAST), as_of)
        if events:
            return json_response(explain(events, now_ms if as_of is None else as_of))
        pending = as_of is None and may_be_pending(known, now_ms, pending_window_ms)
        if not pending or await reads.belongs_elsewhere(project_id, message_id):
            raise no_such_message()
        return json_response(pending_explanation(known))

    return router
