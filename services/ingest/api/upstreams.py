"""`/v1/upstreams`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.upstreams import ManageUpstreams


def upstreams_router(gate: Gate, upstreams: ManageUpstreams) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "upstreams.write")
        return json_response(await upstreams.create(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "upstreams.read")
        return page_response(*upstreams.page(caller, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "upstreams.read")
        return json_response(upstreams.show(caller, request.path_params["upstream_id"]))

    async def change(request: Request) -> Response:
        caller = await gate.admit(request, "upstreams.write")
        return json_response(
            await upstreams.change(caller, request.path_params["upstream_id"], await read_object(request))
        )

    async def delete(request: Request) -> Response:
        caller = await gate.admit(request, "upstreams.write")
        return json_response(await upstreams.delete(caller, request.path_params["upstream_id"]))

    async def undo(request: Request) -> Response:
        caller = await gate.admit(request, "upstreams.write")
        return json_response(await upstreams.undo(caller, request.path_params["upstream_id"]))

    router.add_api_route("/upstreams", create, methods=["POST"])
    router.add_api_route("/upstreams", listed, methods=["GET", "HEAD"])
    router.add_api_route("/upstreams/{upstream_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/upstreams/{upstream_id}", change, methods=["PATCH"])
    router.add_api_route("/upstreams/{upstream_id}", delete, methods=["DELETE"])
    router.add_api_route("/upstreams/{upstream_id}/undo", undo, methods=["POST"])
    return router
