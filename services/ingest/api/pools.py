"""`/v1/pools`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response
from services.ingest.api.edge import Gate
from services.ingest.management.pools import ShowPools


def pools_router(gate: Gate, pools: ShowPools) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "pools.read")
        return page_response(pools.all(caller), None)

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "pools.read")
        return json_response(pools.show(caller, request.path_params["pool"]))

    router.add_api_route("/pools", listed, methods=["GET", "HEAD"])
    router.add_api_route("/pools/{pool}", one, methods=["GET", "HEAD"])
    return router
