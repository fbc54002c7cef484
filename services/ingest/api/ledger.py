"""`/v1/ledger`: what became of everything accepted, passed on from the read side (R37)."""

from fastapi import APIRouter, Request, Response

from chassis.http import request_id_of
from services.ingest.api.edge import Gate
from services.ingest.api.messages import passed_on
from services.ingest.management.reads import ReadThrough


def ledger_router(gate: Gate, reads: ReadThrough) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def ledger(request: Request) -> Response:
        caller = await gate.admit(request, "ledger.read")
        return passed_on(await reads.ledger(caller, request.url.query, request_id_of(request)))

    router.add_api_route("/ledger", ledger, methods=["GET", "HEAD"])
    return router
