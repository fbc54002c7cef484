"""Request bodies, read and inflated within bounds of size, time and memory; and answers written.

A body is held once, as it came or as it inflated. What is too long or too slow costs no more than its bound.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Message

from chassis.budget import ByteBudget, NoRoom, Room
from chassis.deadline import Within
from chassis.http import json_response
from services.ingest import metrics
from services.ingest.domain.faults import Refused
from services.ingest.domain.submission import parse_object

MAX_MAIL_OCTETS = 52_428_800  # R5: after decompression
MAX_BODY_OCTETS = 1024 * 1024
MAX_SMALL_BODY_OCTETS = 64 * 1024  # webhooks, suppressions, keys
# Up to here a body needs no room: a thousand of them at once are less than the room that large ones share.
ORDINARY_OCTETS = 256 * 1024
# From the headers to the end of the body; a slow sender holds a connection and nothing else for so long. A large body
# has longer, as long as it comes at this pace: it holds memory that others wait for.
RECEIVE_SECONDS = 15.0
OCTETS_PER_SECOND = 1024 * 1024
ROOM_SECONDS = 5.0  # a large body takes about a second, so some of those who wait get room
_RETRY_AFTER_SECONDS = 5
_INFLATE_STEP = 256 * 1024  # of output at once: others get their turn in between


class Mails:
    """Bodies of requests that send, which may be large: all that are at hand share one budget of memory."""

    def __init__(self, memory: ByteBudget) -> None:
        self._memory = memory
        metrics.large_body_bytes.set_function(lambda: memory.held)

    def body(self, request: Request) -> "MailBody":
        """`async with` it: the raw body; whoever has parsed a bytearray should clear it. Raises Refused: 413, 400, 415, or
        503 without room.
        """
        return MailBody(request, self._memory)


class MailBody:
    """One body, from its first byte until its request is answered. No generator, for this is on the hot path."""

    __slots__ = ("_request", "_room")

    def __init__(self, request: Request, memory: ByteBudget) -> None:
        self._request = request
        self._room = Room(memory)

    async def __aenter__(self) -> bytes | bytearray:
        try:
            return await _body(self._request, MAX_MAIL_OCTETS, self._room)
        except NoRoom as error:
            self._room.shrink(0)
            metrics.turned_away.inc()
            await _discard(self._request)
            message = "Too many large requests are at hand; nothing was accepted."
            raise Refused("unavailable", message, retry_after=_RETRY_AFTER_SECONDS) from error
        except BaseException:
            self._room.shrink(0)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._room.shrink(0)


async def read_body(request: Request, limit: int = MAX_BODY_OCTETS) -> bytes:
    """The raw body. Raises Refused: 413 as soon as it is known to be too long, 400 where it does not come in time."""
    return bytes(await _body(request, limit, None))


async def read_object(request: Request) -> dict[str, Any]:
    """The body of a small request, as a JSON object."""
    return parse_object(await read_body(request, MAX_SMALL_BODY_OCTETS))


async def read_optional_object(request: Request) -> dict[str, Any]:
    """The same where nothing has to be said: no body is an empty object."""
    raw = await read_body(request, MAX_SMALL_BODY_OCTETS)
    return parse_object(raw) if raw else {}


def page_response(data: list[dict[str, Any]], cursor: str | None) -> Response:
    """A page in the list shape of the API."""
    return json_response({"object": "list", "data": data, "has_more": cursor is not None, "next_cursor": cursor})


async def _body(request: Request, limit: int, room: Room | None) -> bytes | bytearray:
    declared, coding = _declared(request)
    if declared > limit:
        raise _too_large(limit)
    if room is not None and declared > ORDINARY_OCTETS:
        await room.grow(declared, within=ROOM_SECONDS)
    began = asyncio.get_running_loop().time()
    try:
        with Within(RECEIVE_SECONDS):
            first = await request.receive()
        if not first.get("more_body") and "gzip" not in coding and len(first.get("body", b"")) <= ORDINARY_OCTETS:
            return _whole(first, limit)  # as nearly every body comes
        async with asyncio.timeout_at(began + RECEIVE_SECONDS) as deadline:
            chunks = _paced(request, first, deadline, limit)
            return await _gathered(_inflated(chunks) if "gzip" in coding else chunks, limit, room)
    except TimeoutError as error:
        message = (
            f"The body did not arrive within {RECEIVE_SECONDS:g} s, or then at {OCTETS_PER_SECOND} bytes a second."
        )
        raise Refused("incomplete_body", message) from error
    except ClientDisconnect as error:
        raise Refused("incomplete_body", "The connection ended before the body did.") from error


def _whole(message: Message, limit: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _declared(request: Request) -> tuple[int, str]:
    """The length and the coding that the headers name. Raises Refused (415)."""
    length, codings = 0, []
    for name, value in request.scope["headers"]:
        if name == b"content-length":
            length = int(value[:20]) if value.isdigit() else 0
        elif name == b"content-encoding":
            codings.append(value.decode("latin-1").strip().lower())
    coding = ", ".join(codings)
    if coding not in {"", "identity", "gzip", "x-gzip"}:
        raise Refused("unsupported_encoding", "This Content-Encoding is not understood; gzip is.")
    return length, coding


async def _gathered(chunks: AsyncIterator[bytes], limit: int, room: Room | None) -> bytearray:
    body = bytearray()
    async for chunk in chunks:
        size = len(body) + len(chunk)
        if size > limit:
            raise _too_large(limit)
        if room is not None and size > max(ORDINARY_OCTETS, room.octets):
            await room.grow(limit, within=ROOM_SECONDS)  # the length is not known: it may be the longest
        body += chunk
    if room is not None:
        room.shrink(len(body))
    return body


async def _chunks(request: Request, message: Message) -> AsyncIterator[bytes]:
    """The body from `message` on."""
    while message["type"] != "http.disconnect":
        yield message.get("body", b"")
        if not message.get("more_body"):
            return
        message = await request.receive()
    raise ClientDisconnect


async def _paced(request: Request, first: Message, deadline: asyncio.Timeout, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes; each byte gives the rest of it a little more time. Raises Refused (413)."""
    ends, received = asyncio.get_running_loop().time() + RECEIVE_SECONDS, 0
    async for chunk in _chunks(request, first):
        received += len(chunk)
        if received > limit:  # also of bytes that inflate to nothing
            raise _too_large(limit)
        deadline.reschedule(ends + received / OCTETS_PER_SECOND)
        yield chunk


async def _inflated(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """One gzip member, in pieces of bounded size, whatever it inflates to. Raises Refused (400)."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        async for chunk in chunks:
            piece, rest = inflater.decompress(chunk, _INFLATE_STEP), inflater.unconsumed_tail
            while piece:
                yield piece
                await asyncio.sleep(0)
                piece, rest = inflater.decompress(rest, _INFLATE_STEP), inflater.unconsumed_tail
            if inflater.unused_data:
                raise Refused("invalid_encoding", "The body goes on behind the end of its gzip.")
    except zlib.error as error:
        raise Refused("invalid_encoding", "The body is not gzip, as its Content-Encoding says.") from error
    if not inflater.eof:
        raise Refused("invalid_encoding", "The body ends before its gzip does.")


async def _discard(request: Request) -> None:
    """Read the body and keep nothing: a client that is still writing would see a reset instead of its answer."""
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            async for _ in request.stream():
                pass
    except (TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: it was being read already
        return


def _too_large(limit: int) -> Refused:
    return Refused("payload_too_large", f"The body of this request has at most {limit} bytes, after decompression.")
