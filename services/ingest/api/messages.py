"""`/v1/messages`: sending, the hot route, works on the raw body; reads are passed on."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.http import Endpoint, request_id_of
from services.ingest.api.bodies import Mails
from services.ingest.api.edge import Gate
from services.ingest.domain.faults import Refused
from services.ingest.handlers import PATH, Answer, SendRequest
from services.ingest.management.reads import RETRY_AFTER_SECONDS, ReadThrough
from services.ingest.ports import Reply

AcceptMessage = Callable[[SendRequest], Awaitable[Answer]]


def sending(gate: Gate, accept: AcceptMessage, mails: Mails) -> Endpoint:
    """`POST /v1/messages`, or `/v1/messages/batch`."""

    async def send(request: Request) -> Response:
        caller = await gate.admit(request, "messages.send")
        async with mails.body(request) as raw:
            answer = await accept(SendRequest(caller, raw, idempotency_keys(request), request_id_of(request)))
        return accepted(answer)

    return send


class Shortcut:
    """Takes `POST /v1/messages` past the routing of `app`, to which all else goes: a tenth of a request's CPU time."""

    def __init__(self, app: ASGIApp, send: ASGIApp) -> None:
        self._app = app
        self._send = send
        self._route = Route(PATH, send, methods=["POST"])  # what metrics call it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            scope["route"] = self._route
            await self._send(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def messages_router(gate: Gate, send: Endpoint, send_batch: Endpoint, reads: ReadThrough) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "messages.read")
        return passed_on(await reads.messages(caller, request.url.query, request_id_of(request)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "messages.read")
        message_id = request.path_params["message_id"]
        return passed_on(await reads.message(caller, message_id, request.url.query, request_id_of(request)))

    async def explain(request: Request) -> Response:
        caller = await gate.admit(request, "messages.read")
        message_id = request.path_params["message_id"]
        return passed_on(await reads.explanation(caller, message_id, request.url.query, request_id_of(request)))

    router.add_api_route("/messages", send, methods=["POST"])
    router.add_api_route("/messages/batch", send_batch, methods=["POST"])
    router.add_api_route("/messages", listed, methods=["GET", "HEAD"])
    router.add_api_route("/messages/{message_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/messages/{message_id}/explain", explain, methods=["GET", "HEAD"])
    return router


def idempotency_keys(request: Request) -> list[str]:
    """Every Idempotency-Key header, as text. Raises Refused (400) for bytes that are none."""
    found = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    try:
        return [value.decode() for value in found]
    except UnicodeDecodeError as error:
        raise Refused("invalid_idempotency_key", "An Idempotency-Key is UTF-8.") from error


def accepted(answer: Answer) -> Response:
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    return Response(answer.body, 202, headers, "application/json")


def passed_on(reply: Reply) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if reply.status == 503 else None
    return Response(reply.body, reply.status, headers, reply.content_type)
