"""`/openapi.json`, `/docs` and `/docs/errors`: what the API is, to machines and to people. Pages load nothing from elsewhere."""

from functools import cache
from html import escape
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from services.ingest.api.html import folded, page, page_response, preformatted, prose, table
from services.ingest.api.openapi import document, written
from services.ingest.domain.error_codes import FIELD_CODES, RETRIES, error_codes

Json = dict[str, Any]


def documents_router() -> APIRouter:
    router = APIRouter()

    async def openapi(_: Request) -> Response:
        return Response(_openapi(), 200, media_type="application/json")

    async def reference(_: Request) -> Response:
        return page_response(_reference())

    async def errors(_: Request) -> Response:
        return page_response(_errors())

    router.add_api_route("/openapi.json", openapi, methods=["GET", "HEAD"])
    router.add_api_route("/docs", reference, methods=["GET", "HEAD"])
    router.add_api_route("/docs/errors", errors, methods=["GET", "HEAD"])
    return router


@cache
def _openapi() -> bytes:
    return written()


@cache
def _reference() -> str:
    described = document()
    intro = f'<p>{escape(described["info"]["description"])} <a href="/openapi.json">openapi.json</a>, '
    intro += '<a href="/docs/errors">errors</a>, <a href="/events-docs">topics</a></p>'
    operations = [
        _operation(method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = [
        _shown(f'<code id="{name}">{name}</code>', shape) for name, shape in described["components"]["schemas"].items()
    ]
    return page("Sendarix API", "".join([intro, *operations, "<h2>Shapes</h2>", *shapes]))


def _operation(method: str, path: str, operation: Json) -> str:
    title = f"<b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
    return _shown(title, {name: value for name, value in operation.items() if name != "summary"})


def _shown(title: str, value: Json) -> str:
    return folded(title, preformatted(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()))


@cache
def _errors() -> str:
    answers = [
        [str(code.status), f"<code>{code.code}</code>", *map(prose, (code.meaning, code.advice, RETRIES[code.retry]))]
        for code in error_codes()
    ]
    of_fields = [[f"<code>{code}</code>", prose(meaning)] for code, meaning in FIELD_CODES.items()]
    body = table(["status", "code", "what it means", "what to do", "try again?"], answers)
    body += "<h2>Fields</h2>" + table(["code", "what it means"], of_fields)
    return page("Errors", body)
