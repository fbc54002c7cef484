"""Request bodies, read within bounds of size and time, and answers written."""

import asyncio
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from chassis.http import json_response
from services.ingest.domain.faults import Refused
from services.ingest.domain.submission import parse_object

# Six bytes may stand for one in JSON (\u00e9): 128 KiB of content and room for the rest. Larger is not read to its end.
MAX_BODY_OCTETS = 1024 * 1024
MAX_SMALL_BODY_OCTETS = 64 * 1024  # webhooks, suppressions, keys
# From the headers to the end of the body; a slow sender holds a connection and nothing else for so long.
RECEIVE_SECONDS = 15.0


async def read_body(request: Request, limit: int = MAX_BODY_OCTETS) -> bytes:
    """The raw body. Raises Refused: 413 as soon as it is known to be too long, 400 where it does not come in time."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            return await _read(request, limit)
    except TimeoutError as error:
        raise Refused("incomplete_body", f"The body did not arrive within {RECEIVE_SECONDS:g} s.") from error
    except ClientDisconnect as error:
        raise Refused("incomplete_body", "The connection ended before the body did.") from error


async def read_object(request: Request) -> dict[str, Any]:
    """The body of a small request, as a JSON object."""
    return parse_object(await read_body(request, MAX_SMALL_BODY_OCTETS))


def page_response(data: list[dict[str, Any]], cursor: str | None) -> Response:
    """A page in the list shape of the API."""
    return json_response({"object": "list", "data": data, "has_more": cursor is not None, "next_cursor": cursor})


async def _read(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> Refused:
    return Refused("payload_too_large", f"The body of this request has at most {limit} bytes.")
