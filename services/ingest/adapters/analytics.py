"""The read side, asked over HTTP with a signed principal. It must never be given a key, nor asked about a mail to send."""

from urllib.parse import quote

import aiohttp
from yarl import URL

from chassis.clock import Clock
from chassis.principal import HEADER, LIFETIME_MS, Principal, sign
from services.ingest.domain.access import Caller
from services.ingest.ports import AnalyticsAway, Reply

_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=1)  # seconds: a read that takes longer is asked for with a filter
# What may stand in a query string as it is; other bytes are escaped, never dropped.
_QUERY_SAFE = "!$%&'()*+,/:;=?@[]~-._"


class HttpAnalytics:
    def __init__(self, base_url: str, secret: bytes, clock: Clock) -> None:
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(limit=64))

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, query: str, caller: Caller, request_id: str) -> Reply:
        """Raises AnalyticsAway."""
        if self._session is None:
            raise AnalyticsAway("not started")
        suffix = f"?{quote(query, safe=_QUERY_SAFE)}" if query else ""
        url = URL(f"{self._base_url}{path}{suffix}", encoded=True)
        expires_at_ms = self._clock.now_ms() + LIFETIME_MS
        principal = Principal(caller.project_id, caller.key_id, caller.scopes, expires_at_ms)
        headers = {HEADER: sign(principal, self._secret), "X-Request-Id": request_id}
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AnalyticsAway(repr(error)) from error
        return Reply(response.status, body, response.headers.get("Content-Type", "application/json"))
