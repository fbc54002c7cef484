"""`/v1/suppressions`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.suppressions import ManageSuppressions


def suppressions_router(gate: Gate, suppressions: ManageSuppressions) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def add(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.write")
        return json_response(await suppressions.add(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.read")
        return page_response(*suppressions.page(caller, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.read")
        return json_response(suppressions.show(caller, request.path_params["address"]))

    async def remove(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.write")
        origin = request.query_params.get("origin")
        return json_response(await suppressions.remove(caller, request.path_params["address"], origin))

    router.add_api_route("/suppressions", add, methods=["POST"])
    router.add_api_route("/suppressions", listed, methods=["GET", "HEAD"])
    # `:path`, for a slash may stand before the @-sign.
    router.add_api_route("/suppressions/{address:path}", one, methods=["GET", "HEAD"])
    router.add_api_route("/suppressions/{address:path}", remove, methods=["DELETE"])
    return router
