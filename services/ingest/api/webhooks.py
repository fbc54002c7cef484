"""`/v1/webhooks`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response, request_id_of
from services.ingest.api.bodies import page_response, read_object, read_optional_object
from services.ingest.api.edge import Gate
from services.ingest.api.messages import passed_on
from services.ingest.domain.pages import read_page
from services.ingest.management.endpoints import ManageEndpoints
from services.ingest.management.reads import ReadThrough


def webhooks_router(gate: Gate, endpoints: ManageEndpoints, reads: ReadThrough) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.write")
        return json_response(await endpoints.create(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.read")
        return page_response(*endpoints.page(caller, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.read")
        return json_response(endpoints.show(caller, request.path_params["endpoint_id"]))

    async def change(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.write")
        body = await read_object(request)
        return json_response(await endpoints.change(caller, request.path_params["endpoint_id"], body))

    async def rotate(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.write")
        body = await read_optional_object(request)
        return json_response(await endpoints.rotate_secret(caller, request.path_params["endpoint_id"], body))

    async def test(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.write")
        return json_response(await endpoints.test(caller, request.path_params["endpoint_id"]), status=202)

    async def delete(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.write")
        return json_response(await endpoints.delete(caller, request.path_params["endpoint_id"]))

    async def attempts(request: Request) -> Response:
        caller = await gate.admit(request, "webhooks.read")
        endpoint_id = request.path_params["endpoint_id"]
        return passed_on(await reads.attempts(caller, endpoint_id, request.url.query, request_id_of(request)))

    router.add_api_route("/webhooks", create, methods=["POST"])
    router.add_api_route("/webhooks", listed, methods=["GET", "HEAD"])
    router.add_api_route("/webhooks/{endpoint_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/webhooks/{endpoint_id}", change, methods=["PATCH"])
    router.add_api_route("/webhooks/{endpoint_id}", delete, methods=["DELETE"])
    router.add_api_route("/webhooks/{endpoint_id}/rotate-secret", rotate, methods=["POST"])
    router.add_api_route("/webhooks/{endpoint_id}/test", test, methods=["POST"])
    router.add_api_route("/webhooks/{endpoint_id}/attempts", attempts, methods=["GET", "HEAD"])
    return router
