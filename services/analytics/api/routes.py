"""The read API as ingest proxies it: who asks stands in a signed header, and nothing else is believed."""

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response

from chassis.clock import Clock
from chassis.http import ApiError, FieldError, error_response, json_response, request_id_of
from chassis.ids import parse_message_id
from chassis.principal import HEADER, verify
from chassis.telemetry import logger
from services.analytics.api.sandbox import SandboxApi
from services.analytics.domain.cursors import attempt_cursor, feed_cursor, message_cursor
from services.analytics.domain.feed import advanced, oldest_first
from services.analytics.domain.filters import (
    InvalidQuery,
    Parameters,
    attempts_query,
    events_query,
    messages_query,
    no_parameters,
)
from services.analytics.domain.views import (
    list_view,
    may_be_pending,
    message_view,
    message_with_timeline,
    pending_view,
    raw,
)
from services.analytics.ports import Reads, StoreUnavailable

_log = logger("api")


def add_routes(app: FastAPI, reads: Reads, clock: Clock, *, secret: bytes, pending_window_ms: int) -> None:
    """Add the routes and the answers to what can go wrong in them."""

    def project(request: Request) -> str:
        principal = verify(request.headers.get(HEADER, ""), secret, clock.now_ms())
        if principal is None:
            raise ApiError(401, "invalid_api_key", "Not a signed request.", "Reads are made through the public API.")
        return principal.project_id

    app.include_router(_router(_Api(reads, clock, pending_window_ms), SandboxApi(reads), Depends(project)))
    app.add_exception_handler(InvalidQuery, _on_invalid_query)
    app.add_exception_handler(StoreUnavailable, _on_unavailable)


def _router(api: "_Api", sandbox: SandboxApi, project: Any) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/messages")
    async def messages(request: Request, project_id: str = project) -> Response:
        return await api.messages(project_id, _parameters(request))

    @router.get("/messages/{message_id}")
    async def message(message_id: str, request: Request, project_id: str = project) -> Response:
        return await api.message(project_id, message_id, _parameters(request))

    @router.get("/events")
    async def events(request: Request, project_id: str = project) -> Response:
        return await api.events(project_id, _parameters(request))

    @router.get("/webhooks/{endpoint_id}/attempts")
    async def attempts(endpoint_id: str, request: Request, project_id: str = project) -> Response:
        return await api.attempts(project_id, endpoint_id, _parameters(request))

    @router.get("/sandbox/messages")
    async def sandbox_messages(request: Request, project_id: str = project) -> Response:
        return await sandbox.listed(project_id, request)

    @router.get("/sandbox/messages/{message_id}")
    async def sandbox_message(message_id: str, request: Request, project_id: str = project) -> Response:
        return await sandbox.one(project_id, message_id, request)

    return router


class _Api:
    """Parameters in, answers out."""

    def __init__(self, reads: Reads, clock: Clock, pending_window_ms: int) -> None:
        self._reads = reads
        self._clock = clock
        self._pending_window_ms = pending_window_ms

    async def messages(self, project_id: str, parameters: Parameters) -> Response:
        query = messages_query(parameters)
        found = await self._reads.messages(project_id, query, count=query.limit + 1)
        page, has_more = found[: query.limit], len(found) > query.limit
        cursor = message_cursor(page[-1].message_id, query.filters.fingerprint) if has_more else None
        return json_response(list_view([message_view(m) for m in page], has_more=has_more, next_cursor=cursor))

    async def message(self, project_id: str, message_id: str, parameters: Parameters) -> Response:
        no_parameters(parameters)
        known = parse_message_id(message_id)
        if known is None:
            raise _no_such_message()
        message = await self._reads.message(project_id, message_id)
        if message is not None:
            # No event later than the state that is shown: the two are read one after the other.
            timeline = await self._reads.timeline(project_id, message_id, message.sequence)
            return json_response(message_with_timeline(message, timeline))
        young = may_be_pending(known, self._clock.now_ms(), self._pending_window_ms)
        if not young or await self._reads.belongs_elsewhere(project_id, message_id):
            raise _no_such_message()
        return json_response(pending_view(known))

    async def events(self, project_id: str, parameters: Parameters) -> Response:
        """There is always a cursor to go on with: at the end of the feed it waits for what comes next."""
        query = events_query(parameters)
        heads = await self._reads.next_events(project_id, query.start, query.types, per_partition=query.limit + 1)
        page = oldest_first(heads.entries, query.limit)
        loaded = await self._reads.events(project_id, page) if page else {}
        data = [raw(loaded[entry.event_id]) for entry in page if entry.event_id in loaded]
        cursor = feed_cursor(advanced(query.start, heads, page))
        return json_response(list_view(data, has_more=len(heads.entries) > len(page), next_cursor=cursor))

    async def attempts(self, project_id: str, endpoint_id: str, parameters: Parameters) -> Response:
        query = attempts_query(parameters, endpoint_id)
        found = await self._reads.attempts(project_id, endpoint_id, query.after, count=query.limit + 1)
        page, has_more = found[: query.limit], len(found) > query.limit
        cursor = attempt_cursor(page[-1].cursor, endpoint_id) if has_more else None
        data = [raw(attempt.document) for attempt in page]
        return json_response(list_view(data, has_more=has_more, next_cursor=cursor))


async def _on_invalid_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidQuery)
    unknown = all(fault.code == "unsupported_field" for fault in error.faults)
    answer = ApiError(
        422,
        "unsupported_field" if unknown else "validation_error",
        "Some parameters are not right.",
        "See `errors`; nothing was looked up.",
        errors=[FieldError(fault.field, fault.code, fault.message) for fault in error.faults],
    )
    return error_response(answer, request_id_of(request))


async def _on_unavailable(request: Request, error: Exception) -> Response:
    _log.warning("read_unavailable", path=request.url.path, reason=str(error))
    message, hint = "The read side can not answer at the moment.", "Mail goes out all the same; ask again shortly."
    return error_response(ApiError(503, "unavailable", message, hint, retry_after=1), request_id_of(request))


def _no_such_message() -> ApiError:
    return ApiError(404, "not_found", "There is no such message.", "Check the id, and the project of the key.")


def _parameters(request: Request) -> Parameters:
    return request.query_params.multi_items()
