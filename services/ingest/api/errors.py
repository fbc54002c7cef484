"""Refusals and outages in the one error shape of the API."""

from fastapi import FastAPI, Request, Response

from chassis.http import ApiError, FieldError, error_response, request_id_of
from chassis.log import LogUnavailable
from services.ingest.domain.faults import Refused

_RETRY_AFTER_SECONDS = 2


def install(app: FastAPI) -> None:
    """Answer `Refused` and `LogUnavailable` wherever a route raises them."""

    async def on_refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        faults = [
            FieldError(fault.field, fault.code, fault.message, fault.line, fault.variable) for fault in error.faults
        ]
        answer = ApiError(
            error.status, error.code, error.message, error.hint, errors=faults, retry_after=error.retry_after
        )
        return error_response(answer, request_id_of(request))

    async def on_log_unavailable(request: Request, _: Exception) -> Response:
        message = "The change could not be confirmed in time; it may or may not have been made."
        hint = "Retry after the time in Retry-After; look at the list first where a second one would do harm."
        answer = ApiError(503, "unavailable", message, hint, retry_after=_RETRY_AFTER_SECONDS)
        return error_response(answer, request_id_of(request))

    app.add_exception_handler(Refused, on_refused)
    app.add_exception_handler(LogUnavailable, on_log_unavailable)
