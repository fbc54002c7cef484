"""What all reads share: who asks stands in a header that ingest signed, and nothing else is believed.

An answer must never be given without a verified project: `add_routers` is the one way in.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request, Response

from chassis.clock import Clock
from chassis.http import ApiError, FieldError, error_response, json_response, request_id_of
from chassis.principal import HEADER, verify
from chassis.telemetry import logger
from services.analytics.domain.answers import Json, list_view
from services.analytics.domain.parameters import InvalidQuery, Parameters
from services.analytics.ports import StoreUnavailable

_log = logger("api")
T = TypeVar("T")


def add_routers(app: FastAPI, routers: Sequence[APIRouter], clock: Clock, *, secret: bytes) -> None:
    """Add the resources under `/v1`, and the answers to what can go wrong in all of them."""

    def authorise(request: Request) -> None:
        principal = verify(request.headers.get(HEADER, ""), secret, clock.now_ms())
        if principal is None:
            raise ApiError(401, "invalid_api_key", "Not a signed request.", "Reads are made through the public API.")
        request.state.project_id = principal.project_id

    for router in routers:
        app.include_router(router, prefix="/v1", dependencies=[Depends(authorise)])
    app.add_exception_handler(InvalidQuery, _on_invalid_query)
    app.add_exception_handler(StoreUnavailable, _on_unavailable)


def _project_id(request: Request) -> str:
    project_id: str = request.state.project_id
    return project_id


def _parameters(request: Request) -> Parameters:
    return request.query_params.multi_items()


ProjectId = Annotated[str, Depends(_project_id)]
Asked = Annotated[Parameters, Depends(_parameters)]


def page(
    found: Sequence[T], limit: int, view: Callable[[T], Json | orjson.Fragment], cursor: Callable[[T], str]
) -> Response:
    """The list of the first `limit` of `found`, which holds one more where there is more."""
    shown, has_more = found[:limit], len(found) > limit
    data = [view(item) for item in shown]
    return json_response(list_view(data, has_more=has_more, next_cursor=cursor(shown[-1]) if has_more else None))


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
