"""`/v1/metrics`: the numbers of a project's mail, passed on from the read side (R33)."""

from fastapi import APIRouter, Request, Response

from chassis.http import request_id_of
from services.ingest.api.edge import Gate
from services.ingest.api.messages import passed_on
from services.ingest.management.reads import ReadThrough


def metrics_router(gate: Gate, reads: ReadThrough) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def metrics(request: Request) -> Response:
        caller = await gate.admit(request, "metrics.read")
        return passed_on(await reads.metrics(caller, request.url.query, request_id_of(request)))

    router.add_api_route("/metrics", metrics, methods=["GET", "HEAD"])
    return router
