"""`/v1/sandbox/messages`: the inbox of test keys, passed on from the read side (R13)."""

from fastapi import APIRouter, Request, Response

from chassis.http import request_id_of
from services.ingest.api.edge import Gate
from services.ingest.api.messages import passed_on
from services.ingest.management.reads import ReadThrough


def sandbox_router(gate: Gate, reads: ReadThrough) -> APIRouter:
    router = APIRouter(prefix="/v1/sandbox")

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "sandbox.read")
        return passed_on(await reads.sandbox_mails(caller, request.url.query, request_id_of(request)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "sandbox.read")
        message_id = request.path_params["message_id"]
        return passed_on(await reads.sandbox_mail(caller, message_id, request.url.query, request_id_of(request)))

    router.add_api_route("/messages", listed, methods=["GET", "HEAD"])
    router.add_api_route("/messages/{message_id}", one, methods=["GET", "HEAD"])
    return router
