"""`/v1/queues`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_optional_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.queues import ManageQueues


def queues_router(gate: Gate, queues: ManageQueues) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "queues.read")
        return page_response(*queues.page(caller, request.query_params, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "queues.read")
        return json_response(queues.show(caller, _name(request), request.query_params))

    async def pause(request: Request) -> Response:
        caller = await gate.admit(request, "queues.write")
        body = await read_optional_object(request)
        return json_response(await queues.pause(caller, _name(request), request.query_params, body))

    async def resume(request: Request) -> Response:
        caller = await gate.admit(request, "queues.write")
        body = await read_optional_object(request)
        return json_response(await queues.resume(caller, _name(request), request.query_params, body))

    async def flush(request: Request) -> Response:
        caller = await gate.admit(request, "queues.write")
        body = await read_optional_object(request)
        return json_response(await queues.flush(caller, _name(request), request.query_params, body))

    router.add_api_route("/queues", listed, methods=["GET", "HEAD"])
    router.add_api_route("/queues/{queue}", one, methods=["GET", "HEAD"])
    router.add_api_route("/queues/{queue}/pause", pause, methods=["POST"])
    router.add_api_route("/queues/{queue}/resume", resume, methods=["POST"])
    router.add_api_route("/queues/{queue}/flush", flush, methods=["POST"])
    return router


def _name(request: Request) -> str:
    return str(request.path_params["queue"])
