"""The read side, asked over HTTP with a signed principal. It must never be given a key, nor asked about a mail to send."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import aiohttp
from yarl import URL

from chassis.clock import Clock
from chassis.principal import HEADER, LIFETIME_MS, Principal, sign
from chassis.streaming import EVENT_STREAM
from services.ingest.domain.access import Caller
from services.ingest.ports import AnalyticsAway, Flow, Reply

_WITHIN = 10  # seconds: a read that takes longer is asked for with a filter
_TIMEOUT = aiohttp.ClientTimeout(total=_WITHIN, connect=1)
# A stream has no end. Three heartbeats of silence, and there is nobody any more.
_OF_STREAMS = aiohttp.ClientTimeout(total=None, connect=1, sock_read=45)
# What may stand in a query string as it is; other bytes are escaped, never dropped.
_QUERY_SAFE = "!$%&'()*+,/:;=?@[]~-._"


class HttpFlow:
    """The port `Flow`. What is not taken waits at the other side: a client that reads slowly slows its own stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError):
            return  # broken off is ended: the client comes back with the id of its last event

    def close(self) -> None:
        self._response.close()


class HttpAnalytics:
    def __init__(self, base_url: str, secret: bytes, clock: Clock) -> None:
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(limit=64))
        # Connections of their own, so that no stream takes a read's; who opens streams counts them.
        self._streams = aiohttp.ClientSession(timeout=_OF_STREAMS, connector=aiohttp.TCPConnector(limit=0))

    async def stop(self) -> None:
        for session in (self._session, self._streams):
            if session is not None:
                await session.close()

    async def get(self, path: str, query: str, caller: Caller, request_id: str) -> Reply:
        """Raises AnalyticsAway."""
        try:
            async with _started(self._session).get(
                self._url(path, query), headers=self._headers(caller, request_id), allow_redirects=False
            ) as response:
                return await _reply(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AnalyticsAway(repr(error)) from error

    async def follow(
        self, path: str, query: str, caller: Caller, request_id: str, last_event_id: str | None
    ) -> Flow | Reply:
        """Raises AnalyticsAway."""
        headers = {**self._headers(caller, request_id), "Accept": EVENT_STREAM}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        try:
            async with asyncio.timeout(_WITHIN):
                response = await _started(self._streams).get(
                    self._url(path, query), headers=headers, allow_redirects=False
                )
                if response.status == 200:
                    return HttpFlow(response)
                async with response:
                    return await _reply(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AnalyticsAway(repr(error)) from error

    def _url(self, path: str, query: str) -> URL:
        suffix = f"?{quote(query, safe=_QUERY_SAFE)}" if query else ""
        return URL(f"{self._base_url}{path}{suffix}", encoded=True)

    def _headers(self, caller: Caller, request_id: str) -> dict[str, str]:
        expires_at_ms = self._clock.now_ms() + LIFETIME_MS
        principal = Principal(caller.project_id, caller.key_id, caller.scopes, expires_at_ms)
        return {HEADER: sign(principal, self._secret), "X-Request-Id": request_id}


def _started(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise AnalyticsAway("not started")
    return session


async def _reply(response: aiohttp.ClientResponse) -> Reply:
    body = await response.read()
    return Reply(response.status, body, response.headers.get("Content-Type", "application/json"))
