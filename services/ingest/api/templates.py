"""`/v1/templates`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from chassis.http import json_response
from services.ingest.api.bodies import MAX_BODY_OCTETS, page_response, read_body
from services.ingest.api.edge import Gate
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.pages import read_page
from services.ingest.domain.submission import parse_object
from services.ingest.management.templates import ManageTemplates

_ONE = "/templates/{name_or_id}"


def templates_router(gate: Gate, templates: ManageTemplates) -> APIRouter:
    router = APIRouter(prefix="/v1")

    async def create(request: Request) -> Response:
        caller = await gate.admit(request, "templates.write")
        return json_response(await templates.create(caller, await _content(request)), status=201)

    async def listed(request: Request) -> Response:
        caller = await gate.admit(request, "templates.read")
        return page_response(*templates.page(caller, read_page(request.query_params)))

    async def one(request: Request) -> Response:
        caller = await gate.admit(request, "templates.read")
        return json_response(templates.show(caller, _name(request), _version(request)))

    async def add_version(request: Request) -> Response:
        caller = await gate.admit(request, "templates.write")
        return json_response(await templates.add_version(caller, _name(request), await _content(request)))

    async def delete(request: Request) -> Response:
        caller = await gate.admit(request, "templates.write")
        return json_response(await templates.delete(caller, _name(request)))

    async def publish(request: Request) -> Response:
        caller = await gate.admit(request, "templates.write")
        return json_response(await templates.publish(caller, _name(request), await _optional(request)))

    async def preview(request: Request) -> Response:
        caller = await gate.admit(request, "templates.read")
        return json_response(await templates.preview(caller, _name(request), await _content(request)))

    async def validate(request: Request) -> Response:
        caller = await gate.admit(request, "templates.read")
        return json_response(await templates.validate(caller, _name(request), await _optional(request)))

    router.add_api_route("/templates", create, methods=["POST"])
    router.add_api_route("/templates", listed, methods=["GET", "HEAD"])
    router.add_api_route(_ONE, one, methods=["GET", "HEAD"])
    router.add_api_route(_ONE, add_version, methods=["PUT"])
    router.add_api_route(_ONE, delete, methods=["DELETE"])
    router.add_api_route(f"{_ONE}/publish", publish, methods=["POST"])
    router.add_api_route(f"{_ONE}/render", preview, methods=["POST"])
    router.add_api_route(f"{_ONE}/validate", validate, methods=["POST"])
    return router


def _name(request: Request) -> str:
    name: str = request.path_params["name_or_id"]
    return name


def _version(request: Request) -> int | None:
    """`?version=`. Raises Refused (422)."""
    text = request.query_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1):
        raise invalid([Fault("version", "invalid_value", "A version is a number from 1 on.")])
    return int(text)


async def _content(request: Request) -> dict[str, Any]:
    """A body as large as a mail's."""
    return parse_object(await read_body(request, MAX_BODY_OCTETS))


async def _optional(request: Request) -> dict[str, Any]:
    """A body that may be missing: then nothing is asked for in particular."""
    raw = await read_body(request, MAX_BODY_OCTETS)
    return parse_object(raw) if raw else {}
