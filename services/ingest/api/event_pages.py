"""`/asyncapi.json` and `/events-docs`: the topics that other teams may read, to machines and to people (R32).

The document is the committed one; this module must never say of a topic what does not stand there.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from html import escape
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from schemas.generate import ASYNCAPI
from services.ingest.api.html import folded, page, page_response, preformatted, prose, table

Json = dict[str, Any]


def event_pages_router() -> APIRouter:
    router = APIRouter()

    async def asyncapi(_: Request) -> Response:
        return Response(_asyncapi(), 200, media_type="application/json")

    async def topics(_: Request) -> Response:
        return page_response(_topics())

    router.add_api_route("/asyncapi.json", asyncapi, methods=["GET", "HEAD"])
    router.add_api_route("/events-docs", topics, methods=["GET", "HEAD"])
    return router


@cache
def _asyncapi() -> bytes:
    return ASYNCAPI.read_bytes()


@cache
def _topics() -> str:
    document = orjson.loads(_asyncapi())
    intro = f'<p>{prose(document["info"]["description"])} <a href="/asyncapi.json">asyncapi.json</a></p>'
    return page("Sendarix topics", intro + "".join(_topic(name, document) for name in document["channels"]))


def _topic(name: str, document: Json) -> str:
    channel = document["channels"][name]
    kafka, group = (
        channel["bindings"]["kafka"],
        document["operations"][f"receive-{name}"]["bindings"]["kafka"]["groupId"],
    )
    types = list(channel["messages"])
    key = document["components"]["messages"][types[0]]["bindings"]["kafka"]["key"]["description"]
    kept = kafka["topicConfiguration"].get("retention.ms")
    facts = [
        ("key", key),
        ("partitions", str(kafka["partitions"])),
        ("kept", "compacted" if kept is None else f"{timedelta(milliseconds=kept).days} days"),
        ("consumer group", group["description"]),
    ]
    rows = [[f"<b>{what}</b>", escape(said)] for what, said in facts]
    head = (
        f'<h2 id="{escape(name)}"><code>{escape(channel["address"])}</code></h2><p>{prose(channel["description"])}</p>'
    )
    return head + table((), rows) + "".join(_message(kind, document) for kind in types)


def _message(name: str, document: Json) -> str:
    message, schemas = document["components"]["messages"][name], document["components"]["schemas"]
    fields = [
        [f"<code>{escape(field)}</code>", escape(kind), prose(about)]
        for field, kind, about in _fields(schemas[name], schemas)
    ]
    headers = [
        [f"<code>{escape(header)}</code>", escape(str(said.get("const", "text"))), prose(said.get("description", ""))]
        for header, said in message["headers"]["properties"].items()
    ]
    examples = [
        preformatted(orjson.dumps(one["payload"], option=orjson.OPT_INDENT_2).decode()) for one in message["examples"]
    ]
    body = (
        table(("field", "what it is", ""), fields)
        + "<h3>Headers</h3>"
        + table((), headers)
        + "<h3>Examples</h3>"
        + "".join(examples)
    )
    return folded(f"<code>{escape(name)}</code> {prose(message['summary'])}", body, anchor=name)


def _fields(schema: Json, schemas: Json, above: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, kind and description of each field, those of nested shapes below it."""
    for name, said in schema["properties"].items():
        shape = _shape(said, schemas)
        yield above + name, _kind(said, schemas), said.get("description", shape.get("description", ""))
        inner = _shape(shape["items"], schemas) if "items" in shape else shape
        if "properties" in inner:
            yield from _fields(inner, schemas, f"{above}{name}{'[]' if 'items' in shape else ''}.")


def _shape(said: Json, schemas: Json) -> Json:
    """The one that is not null, looked up."""
    (first, *_) = [branch for branch in said.get("anyOf", [said]) if branch.get("type") != "null"]
    return dict(schemas[first["$ref"].rpartition("/")[2]]) if "$ref" in first else first


def _kind(said: Json, schemas: Json) -> str:
    shape = _shape(said, schemas)
    if "const" in shape:
        kind = str(shape["const"])
    elif "enum" in shape:
        kind = " | ".join(shape["enum"])
    elif shape.get("pattern", "").startswith(r"^\d{4}-"):
        kind = "time"
    elif shape["type"] == "array":
        kind = f"list of {_kind(shape['items'], schemas)}"
    else:
        kind = {"string": "text", "integer": "number"}.get(shape["type"], str(shape["type"]))
    return f"{kind} or null" if any(branch.get("type") == "null" for branch in said.get("anyOf", ())) else kind
