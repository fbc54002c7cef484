"""`/v1/alerts`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.alerts import ManageAlerts


def alerts_router(gate: Gate, alerts: ManageAlerts) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "alerts.write")
        return json_response(await alerts.create(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "alerts.read")
        return page_response(*alerts.page(caller, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "alerts.read")
        return json_response(alerts.show(caller, request.path_params["alert_id"]))

    async def change(request: Request) -> Response:
        caller = await gate.admit(request, "alerts.write")
        return json_response(await alerts.change(caller, request.path_params["alert_id"], await read_object(request)))

    async def delete(request: Request) -> Response:
        caller = await gate.admit(request, "alerts.write")
        return json_response(await alerts.delete(caller, request.path_params["alert_id"]))

    async def undo(request: Request) -> Response:
        caller = await gate.admit(request, "alerts.write")
        return json_response(await alerts.undo(caller, request.path_params["alert_id"]))

    router.add_api_route("/alerts", create, methods=["POST"])
    router.add_api_route("/alerts", listed, methods=["GET", "HEAD"])
    router.add_api_route("/alerts/{alert_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/alerts/{alert_id}", change, methods=["PATCH"])
    router.add_api_route("/alerts/{alert_id}", delete, methods=["DELETE"])
    router.add_api_route("/alerts/{alert_id}/undo", undo, methods=["POST"])
    return router
