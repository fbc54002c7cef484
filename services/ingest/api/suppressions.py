"""`/v1/suppressions`, and `/v1/unsubscribes`: the same records, of one reason."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from schemas.events import SuppressionReason
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.domain.suppression_list import read_selection
from services.ingest.management.suppressions import ManageSuppressions


def suppressions_router(gate: Gate, suppressions: ManageSuppressions) -> APIRouter:
    router = APIRouter(prefix="/v1")
    _add_routes(router, "/suppressions", gate, suppressions, None)
    _add_routes(router, "/unsubscribes", gate, suppressions, "unsubscribed")
    return router


def _add_routes(
    router: APIRouter, path: str, gate: Gate, suppressions: ManageSuppressions, only: SuppressionReason | None
) -> None:
    """`only`: the one reason that is seen and written here."""

    async def add(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.write")
        return json_response(await suppressions.add(caller, await read_object(request), only), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.read")
        page, selection = read_page(request.query_params), read_selection(request.query_params, only)
        return page_response(*suppressions.page(caller, page, selection))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.read")
        selection = read_selection(request.query_params, only)
        return json_response(suppressions.show(caller, request.path_params["address"], selection))

    async def remove(request: Request) -> Response:
        caller = await gate.admit(request, "suppressions.write")
        selection = read_selection(request.query_params, only)
        return json_response(await suppressions.remove(caller, request.path_params["address"], selection))

    router.add_api_route(path, add, methods=["POST"])
    router.add_api_route(path, listed, methods=["GET", "HEAD"])
    # `:path`, for a slash may stand before the @-sign.
    router.add_api_route(f"{path}/{{address:path}}", one, methods=["GET", "HEAD"])
    router.add_api_route(f"{path}/{{address:path}}", remove, methods=["DELETE"])
