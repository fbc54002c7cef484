"""`/v1/projects`: for admin keys."""

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import page_response, read_object
from services.ingest.api.edge import Gate
from services.ingest.domain.pages import read_page
from services.ingest.management.projects import ManageProjects


def projects_router(gate: Gate, projects: ManageProjects) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        await gate.admit(request, "projects.write")
        return json_response(await projects.create(await read_object(request)), status=201)

    async def listed(request: Request) -> Response:
        await gate.admit(request, "projects.read")
        return page_response(*projects.page(read_page(request.query_params)))

    async def one(request: Request) -> Response:
        await gate.admit(request, "projects.read")
        return json_response(projects.show(request.path_params["project_id"]))

    async def change(request: Request) -> Response:
        await gate.admit(request, "projects.write")
        return json_response(await projects.change(request.path_params["project_id"], await read_object(request)))

    router.add_api_route("/projects", create, methods=["POST"])
    router.add_api_route("/projects", listed, methods=["GET", "HEAD"])
    router.add_api_route("/projects/{project_id}", one, methods=["GET", "HEAD"])
    router.add_api_route("/projects/{project_id}", change, methods=["PATCH"])
    return router
