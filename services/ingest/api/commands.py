"""`DELETE` and `PATCH /v1/messages/{id}`, `POST /v1/messages/{id}/release`."""

from fastapi import APIRouter, Request, Response

from chassis.http import request_id_of
from services.ingest.api.bodies import MAX_SMALL_BODY_OCTETS, read_body
from services.ingest.api.edge import Gate
from services.ingest.api.messages import idempotency_keys
from services.ingest.domain.commands import Asking
from services.ingest.domain.idempotency import read_key
from services.ingest.management.commands import ManageMessages


def commands_router(gate: Gate, messages: ManageMessages) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def cancel(request: Request) -> Response:
        caller = await gate.admit(request, "messages.send")
        return _shown(await messages.cancel(caller, request.path_params["message_id"], _asking(request)))

    async def reschedule(request: Request) -> Response:
        caller = await gate.admit(request, "messages.send")
        raw = await read_body(request, MAX_SMALL_BODY_OCTETS)
        return _shown(await messages.reschedule(caller, request.path_params["message_id"], raw, _asking(request)))

    async def release(request: Request) -> Response:
        caller = await gate.admit(request, "messages.send")
        return _shown(await messages.release(caller, request.path_params["message_id"], _asking(request)))

    router.add_api_route("/messages/{message_id}", cancel, methods=["DELETE"])
    router.add_api_route("/messages/{message_id}", reschedule, methods=["PATCH"])
    router.add_api_route("/messages/{message_id}/release", release, methods=["POST"])
    return router


def _asking(request: Request) -> Asking:
    return Asking(read_key(idempotency_keys(request), {}).key, request_id_of(request))


def _shown(message: bytes) -> Response:
    return Response(message, 200, media_type="application/json")
