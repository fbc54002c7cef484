"""`/openapi.json`, `/docs` and `/docs/errors`: what the API is, to machines and to people. Pages load nothing from elsewhere."""

from functools import cache
from html import escape
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from services.ingest.api.openapi import document, written
from services.ingest.domain.error_codes import FIELD_CODES, RETRIES, error_codes

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td,th{{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid #8884}}
pre{{overflow:auto;background:#8881;padding:.75rem}}summary{{cursor:pointer;padding:.25rem 0}}code{{font-size:.9em}}</style></head>
<body><h1>{title}</h1>{body}</body>
</html>
"""
Json = dict[str, Any]


def documents_router() -> APIRouter:
    router = APIRouter()

    async def openapi(_: Request) -> Response:
        return Response(_openapi(), 200, media_type="application/json")

    async def reference(_: Request) -> Response:
        return Response(_reference(), 200, _HEADERS, "text/html; charset=utf-8")

    async def errors(_: Request) -> Response:
        return Response(_errors(), 200, _HEADERS, "text/html; charset=utf-8")

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
    intro += '<a href="/docs/errors">errors</a></p>'
    operations = [
        _operation(method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = [
        _folded(f'<code id="{name}">{name}</code>', shape) for name, shape in described["components"]["schemas"].items()
    ]
    return _PAGE.format(title="Sendarix API", body="".join([intro, *operations, "<h2>Shapes</h2>", *shapes]))


def _operation(method: str, path: str, operation: Json) -> str:
    title = f"<b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
    return _folded(title, {name: value for name, value in operation.items() if name != "summary"})


def _folded(title: str, value: Json) -> str:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>"


@cache
def _errors() -> str:
    answers = [
        [str(code.status), f"<code>{code.code}</code>", *map(_prose, (code.meaning, code.advice, RETRIES[code.retry]))]
        for code in error_codes()
    ]
    of_fields = [[f"<code>{code}</code>", _prose(meaning)] for code, meaning in FIELD_CODES.items()]
    body = _table(["status", "code", "what it means", "what to do", "try again?"], answers)
    body += "<h2>Fields</h2>" + _table(["code", "what it means"], of_fields)
    return _PAGE.format(title="Errors", body=body)


def _prose(text: str) -> str:
    """`code` in backquotes, as the tables are written."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [
        "".join(f"<th>{name}</th>" for name in head),
        *("".join(f"<td>{cell}</td>" for cell in row) for row in rows),
    ]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
