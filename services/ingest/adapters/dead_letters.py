"""Which messages have failed for good: asked of the read side, page by page (R29)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Fault, invalid
from services.ingest.ports import Analytics, AnalyticsAway

_PAGE = 100  # the longest
_WRONG = 422


class ReadDeadLetters:
    """See `services.ingest.ports.DeadLetters`."""

    def __init__(self, analytics: Analytics) -> None:
        self._analytics = analytics

    async def among(self, caller: Caller, message_ids: Sequence[str], request_id: str) -> frozenset[str]:
        found: set[str] = set()
        for first in range(0, len(message_ids), _PAGE):
            named = ",".join(message_ids[first : first + _PAGE])
            page = await self._page(caller, {"message_ids": named}, _PAGE, request_id)
            found.update(letter["message_id"] for letter in page["data"])
        return frozenset(found)

    async def matching(self, caller: Caller, filters: Mapping[str, str], limit: int, request_id: str) -> list[str]:
        """Of mail of the key's environment. What was re-driven is passed over, unless it is asked for: a request that
        comes again goes on.
        """
        query, found = {"redriven": "false", "environment": caller.environment, **filters}, list[str]()
        while len(found) < limit:
            page = await self._page(caller, query, min(_PAGE, limit - len(found)), request_id)
            found += [letter["message_id"] for letter in page["data"]]
            if page["next_cursor"] is None:
                break
            query = {**query, "after": page["next_cursor"]}
        return found

    async def _page(self, caller: Caller, query: Mapping[str, str], limit: int, request_id: str) -> dict[str, Any]:
        asked = urlencode({**query, "limit": str(limit)})
        reply = await self._analytics.get("/v1/dead-letters", asked, caller, request_id)
        if reply.status == _WRONG:
            faults = orjson.loads(reply.body)["errors"]
            raise invalid([Fault(f"filters.{each['field']}", each["code"], each["message"]) for each in faults])
        if reply.status != 200:
            raise AnalyticsAway(f"status {reply.status}")
        page: dict[str, Any] = orjson.loads(reply.body)
        return page
