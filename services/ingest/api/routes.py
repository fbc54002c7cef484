"""`/v1/routes`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.route_forecasts import ForecastRoutes
from services.ingest.management.routes import ManageRoutes


def routes_router(gate: Gate, routes: ManageRoutes, forecasts: ForecastRoutes) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "routes.write")
        return json_response(await routes.create(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "routes.read")
        return page_response(*routes.page(caller, read_page(request.query_params)))

    async def explain(request: Request) -> Response:
        caller = await gate.admit(request, "routes.read")
        return json_response(forecasts.explain(caller, request.query_params))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "routes.read")
        return json_response(routes.show(caller, request.path_params["route_id"]))

    async def change(request: Request) -> Response:
        caller = await gate.admit(request, "routes.write")
        return json_response(await routes.change(caller, request.path_params["route_id"], await read_object(request)))

    async def delete(request: Request) -> Response:
        caller = await gate.admit(request, "routes.write")
        return json_response(await routes.delete(caller, request.path_params["route_id"]))

    async def undo(request: Request) -> Response:
        caller = await gate.admit(request, "routes.write")
        return json_response(await routes.undo(caller, request.path_params["route_id"]))

    router.add_api_route("/routes", create, methods=["POST"])
    router.add_api_route("/routes", listed, methods=["GET", "HEAD"])
    router.add_api_route("/routes/explain", explain, methods=["GET", "HEAD"])
    router.add_api_route("/routes/{route_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/routes/{route_id}", change, methods=["PATCH"])
    router.add_api_route("/routes/{route_id}", delete, methods=["DELETE"])
    router.add_api_route("/routes/{route_id}/undo", undo, methods=["POST"])
    return router
