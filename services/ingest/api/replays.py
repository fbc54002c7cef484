"""`/v1/webhooks/{endpoint_id}/replays`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.replays import ManageReplays


def replays_router(gate: Gate, replays: ManageReplays) -> APIRouter:
    router = APIRouter(prefix="/v1/webhooks/{endpoint_id}/replays")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.write")
        body = await read_object(request)
        return json_response(await replays.create(caller, request.path_params["endpoint_id"], body), status=202)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.read")
        page = read_page(request.query_params)
        return page_response(*replays.page(caller, request.path_params["endpoint_id"], page))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.read")
        asked = request.path_params
        return json_response(replays.show(caller, asked["endpoint_id"], asked["replay_id"]))

    router.add_api_route("", create, methods=["POST"])
    router.add_api_route("", listed, methods=["GET", "HEAD"])
    router.add_api_route("/{replay_id}", one, methods=["GET", "HEAD"])
    return router
