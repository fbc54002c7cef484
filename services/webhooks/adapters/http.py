"""Requests to places that customers name: bounded in time and bytes, and never to an address that is not public.

The URL is judged at each attempt, and so is every address its name resolves to; aiohttp then connects to exactly those.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from chassis.egress import refusal_of_address, refusal_of_url
from services.webhooks.domain.outcome import Answered, NoAnswer, Reply

TOTAL_SECONDS, CONNECT_SECONDS = 15.0, 5.0
_READ_BYTES = 64 * 1024  # of an answer; what is longer costs its connection
_KEPT_BYTES = 16 * 1024
_HEADER_LINE_BYTES, _MOST_HEADERS = 8190, 64
_URLS_REMEMBERED = 10_000  # what is thought of them: of the URL alone, never of where its name leads
_LOOK_UPS = 128  # names at a time, one thread each while it runs: a dead name server holds its thread for half a minute
_CACHED_SECONDS = 10  # vetted addresses only; a look-up that runs is shared by all who ask for that name
# Shorter than receivers keep idle connections, so that a request seldom meets one that is being closed.
_KEEP_ALIVE_SECONDS = 4.0

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
LookUp = Callable[[str, int, int], Sequence[AddressInfo]]  # host, port, family; blocks; raises OSError


class RefusedAddress(OSError):
    """A name leads only to addresses that nothing may connect to."""


def system_look_up(host: str, port: int, family: int) -> Sequence[AddressInfo]:
    return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)


class PublicResolver(AbstractResolver):
    """Lets pass those addresses of a name that may be connected to. In threads of its own: uvloop has four for all."""

    def __init__(self, look_up: LookUp, *, allow_loopback: bool) -> None:
        self._look_up = look_up
        self._allow_loopback = allow_loopback
        self._threads = ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._look_up, host, port, family)
        addresses = {str(address[0]): (kind, proto) for kind, _, proto, _, address in found}
        refusals = {text: refusal_of_address(text, allow_loopback=self._allow_loopback) for text in addresses}
        public = [text for text, refusal in refusals.items() if refusal is None]
        if not public:
            raise RefusedAddress("; ".join(sorted({refusal for refusal in refusals.values() if refusal})))
        return [
            ResolveResult(
                hostname=host,
                host=text,
                port=port,
                family=addresses[text][0],
                proto=addresses[text][1],
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for text in public
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class HttpPoster:
    """`services.webhooks.ports.Poster`; a part of the service."""

    def __init__(
        self,
        *,
        allow_loopback: bool,
        total: float = TOTAL_SECONDS,
        connect: float = CONNECT_SECONDS,
        look_up: LookUp = system_look_up,
    ) -> None:
        self._allow_loopback = allow_loopback
        self._refusal_of = lru_cache(maxsize=_URLS_REMEMBERED)(partial(refusal_of_url, allow_loopback=allow_loopback))
        self._timeout = aiohttp.ClientTimeout(total=total, connect=connect)
        self._look_up = look_up
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=PublicResolver(self._look_up, allow_loopback=self._allow_loopback),
                limit=0,  # the queue has the limits
                ttl_dns_cache=_CACHED_SECONDS,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ),
            timeout=self._timeout,
            trust_env=False,  # no proxy, no .netrc
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # the answer is kept for people as it is; a bomb stays small
            headers={
                "Content-Type": "application/json",
                "User-Agent": "Sendarix-Webhooks/1",
                "Accept-Encoding": "identity",
            },
            max_line_size=_HEADER_LINE_BYTES,
            max_field_size=_HEADER_LINE_BYTES,
            max_headers=_MOST_HEADERS,
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        assert self._session is not None, "start() first"
        refusal = self._refusal_of(url)
        if refusal is not None:
            return NoAnswer("refused", refusal)
        try:
            target = URL(url, encoded=True)
            async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as response:
                return Answered(response.status, response.headers.get("Retry-After"), await _text_of(response))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return _no_answer(error)


async def _text_of(response: aiohttp.ClientResponse) -> str:
    """What may be kept of the body. The status has been said: how the body ends does not change the outcome."""
    read = bytearray()
    try:
        while len(read) < _READ_BYTES and (chunk := await response.content.read(_READ_BYTES - len(read))):
            read += chunk
    except (aiohttp.ClientError, TimeoutError):
        response.close()
    kept = bytes(read[:_KEPT_BYTES]).decode("utf-8", "replace")
    return kept.encode()[:_KEPT_BYTES].decode("utf-8", "ignore")


def _no_answer(error: Exception) -> NoAnswer:  # noqa: PLR0911 - a table of aiohttp's words and ours
    match error:
        case aiohttp.ConnectionTimeoutError():
            return NoAnswer("timeout", "no connection in time")
        case TimeoutError():
            return NoAnswer("timeout", "no answer in time")
        case aiohttp.ClientConnectorDNSError(os_error=RefusedAddress() as refused):
            return NoAnswer("refused", str(refused))
        case aiohttp.ClientConnectorDNSError():
            return NoAnswer("dns", "the host name does not resolve")
        case aiohttp.ClientConnectorCertificateError():
            return NoAnswer("tls", "the certificate is not trusted for this host")
        case aiohttp.ClientSSLError():
            return NoAnswer("tls", "no TLS connection could be made")
        case aiohttp.ClientConnectorError():
            return NoAnswer("connect", error.strerror or "no connection")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return NoAnswer("disconnected", "the connection was closed before an answer came")
        case aiohttp.InvalidURL() | ValueError():
            return NoAnswer("refused", "not a URL that can be called")
        case _:
            return NoAnswer("malformed", "the answer is not HTTP, or its headers are too large")
