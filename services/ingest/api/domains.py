"""`/v1/domains`."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.domains import ManageDomains


def domains_router(gate: Gate, domains: ManageDomains) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "domains.write")
        return json_response(await domains.create(caller, await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "domains.read")
        return page_response(*domains.page(caller, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "domains.read")
        return json_response(domains.show(caller, request.path_params["domain_id"]))

    async def verify(request: Request) -> Response:
        caller = await gate.admit(request, "domains.write")
        return json_response(await domains.verify(caller, request.path_params["domain_id"]))

    async def delete(request: Request) -> Response:
        caller = await gate.admit(request, "domains.write")
        return json_response(await domains.delete(caller, request.path_params["domain_id"]))

    router.add_api_route("/domains", create, methods=["POST"])
    router.add_api_route("/domains", listed, methods=["GET", "HEAD"])
    router.add_api_route("/domains/{domain_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/domains/{domain_id}", delete, methods=["DELETE"])
    router.add_api_route("/domains/{domain_id}/verify", verify, methods=["POST"])
    return router
