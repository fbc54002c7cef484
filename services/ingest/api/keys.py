"""`/v1/api-keys`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object, read_optional_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.keys import ManageKeys


def keys_router(gate: Gate, keys: ManageKeys) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "api_keys.write")
        return json_response(await keys.create(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "api_keys.read")
        query = request.query_params
        return page_response(*keys.page(caller, read_page(query), query.get("project_id")))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "api_keys.read")
        return json_response(keys.show(caller, request.path_params["key_id"]))

    async def rotate(request: Request) -> Response:
        caller = await gate.admit(request, "api_keys.write")
        body = await read_optional_object(request)
        return json_response(await keys.rotate(caller, request.path_params["key_id"], body), status=201)

    async def revoke(request: Request) -> Response:
        caller = await gate.admit(request, "api_keys.write")
        return json_response(await keys.revoke(caller, request.path_params["key_id"]))

    router.add_api_route("/api-keys", create, methods=["POST"])
    router.add_api_route("/api-keys", listed, methods=["GET", "HEAD"])
    router.add_api_route("/api-keys/{key_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/api-keys/{key_id}/rotate", rotate, methods=["POST"])
    router.add_api_route("/api-keys/{key_id}", revoke, methods=["DELETE"])
    return router
