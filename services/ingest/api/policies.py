"""`/v1/policies`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.policies import ManagePolicies


def policies_router(gate: Gate, policies: ManagePolicies) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "policies.write")
        return json_response(await policies.create(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "policies.read")
        return page_response(*policies.page(caller, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "policies.read")
        return json_response(policies.show(caller, request.path_params["policy_id"]))

    async def change(request: Request) -> Response:
        caller = await gate.admit(request, "policies.write")
        return json_response(
            await policies.change(caller, request.path_params["policy_id"], await read_object(request))
        )

    async def delete(request: Request) -> Response:
        caller = await gate.admit(request, "policies.write")
        return json_response(await policies.delete(caller, request.path_params["policy_id"]))

    async def undo(request: Request) -> Response:
        caller = await gate.admit(request, "policies.write")
        return json_response(await policies.undo(caller, request.path_params["policy_id"]))

    router.add_api_route("/policies", create, methods=["POST"])
    router.add_api_route("/policies", listed, methods=["GET", "HEAD"])
    router.add_api_route("/policies/{policy_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/policies/{policy_id}", change, methods=["PATCH"])
    router.add_api_route("/policies/{policy_id}", delete, methods=["DELETE"])
    router.add_api_route("/policies/{policy_id}/undo", undo, methods=["POST"])
    return router
