"""Requests to places that customers name: guarded against SSRF at connect, bounded in time and in what is read.

It must never follow a redirect, use a proxy or a .netrc of the environment, or connect to an address it has not judged.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from chassis.clock import Clock
from chassis.egress import refusal_of_address, refusal_of_url
from chassis.service import Part
from services.webhooks.domain.verdict import Answer, Fault

KEPT = 16 * 1024  # bytes of an answer that are kept for people
_FIXED_HEADERS = {"content-type": "application/json", "user-agent": "Sendarix-Webhooks/1", "accept": "*/*"}
_LONGEST_HEADERS = 16 * 1024


class RefusedAddress(OSError):
    """The name leads to a place that no customer may send us to."""


class GuardedResolver(AbstractResolver):
    """Answers with public addresses only: what is judged here is exactly what is connected to."""

    def __init__(self, inner: AbstractResolver, *, allow_loopback: bool) -> None:
        self._inner = inner
        self._allow_loopback = allow_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            refusal = refusal_of_address(result["host"], allow_loopback=self._allow_loopback)
            if refusal is not None:
                raise RefusedAddress(refusal)
        return found

    async def close(self) -> None:
        await self._inner.close()


class HttpCaller(Part):
    """`services.webhooks.ports.CallEndpoint` on aiohttp."""

    def __init__(
        self,
        clock: Clock,
        *,
        allow_loopback: bool,
        timeout: float,
        connect_timeout: float,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._clock = clock
        self._allow_loopback = allow_loopback
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=connect_timeout)
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        guarded = GuardedResolver(self._resolver or ThreadedResolver(), allow_loopback=self._allow_loopback)
        self._session = aiohttp.ClientSession(
            # The courier bounds what is open; names are resolved, and judged, at each new connection.
            connector=aiohttp.TCPConnector(resolver=guarded, limit=0, use_dns_cache=False),
            timeout=self._timeout,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=_LONGEST_HEADERS,
            max_field_size=_LONGEST_HEADERS,
            skip_auto_headers=["accept-encoding"],
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._refused(url):
            return Answer(None, "refused_address")
        try:
            return await self._post(url, body, {**_FIXED_HEADERS, **headers})
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _name_of(error))

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        assert self._session is not None
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            text = await _first_bytes(response.content)
            wait = self._retry_after(response.headers.get("retry-after"))
            return Answer(response.status, retry_after=wait, response=text.decode("utf-8", "replace"))

    def _refused(self, url: str) -> bool:
        """Rules may have changed since the URL was saved, and a literal address never sees the resolver."""
        if refusal_of_url(url, allow_loopback=self._allow_loopback) is not None:
            return True
        host = urlsplit(url).hostname or ""
        is_literal = ":" in host or host.replace(".", "").isdigit()
        return is_literal and refusal_of_address(host, allow_loopback=self._allow_loopback) is not None

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds: RFC 9110 section 10.2.3 allows a number or a date."""
        if value is None:
            return None
        with suppress(ValueError):
            return max(0.0, float(value))
        with suppress(ValueError, TypeError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - self._clock.now_ms() / 1000)
        return None


def _name_of(error: Exception) -> Fault:
    """The field's word for what went wrong on the way."""
    match error:
        case RefusedAddress():
            return "refused_address"
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError():
            return "refused_address" if isinstance(error.os_error, RefusedAddress) else "dns"
        case aiohttp.ClientSSLError():
            return "tls"
        case _:
            return "connection"


async def _first_bytes(stream: aiohttp.StreamReader) -> bytes:
    """What is kept of the answer. The rest is not read: the connection ends with it."""
    kept = bytearray()
    while len(kept) < KEPT:
        chunk = await stream.read(KEPT - len(kept))
        if not chunk:
            break
        kept += chunk
    return bytes(kept)
