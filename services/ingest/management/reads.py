"""Reads of the other side: passed on to analytics as they are, after the id has proved whose it is (D78).

An id that is malformed, forged, another project's or unknown gets one and the same 404, without a look-up.
"""

from dataclasses import dataclass

from chassis.ids import MessageIds
from services.ingest.domain.access import Caller
from services.ingest.domain.commands import no_such_message
from services.ingest.domain.faults import Refused
from services.ingest.domain.redrives import not_dead
from services.ingest.management.endpoints import ManageEndpoints
from services.ingest.ports import AnalyticsAway, AnalyticsToFollow, Flow, Reply

RETRY_AFTER_SECONDS = 5
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class ReadThrough:
    ids: MessageIds
    endpoints: ManageEndpoints
    analytics: AnalyticsToFollow

    async def messages(self, caller: Caller, query: str, request_id: str) -> Reply:
        return await self._get("/v1/messages", query, caller, request_id)

    async def message(self, caller: Caller, message_id: str, query: str, request_id: str) -> Reply:
        return await self._of_message(message_id, "", query, caller, request_id)

    async def explanation(self, caller: Caller, message_id: str, query: str, request_id: str) -> Reply:
        return await self._of_message(message_id, "/explain", query, caller, request_id)

    async def events(self, caller: Caller, query: str, request_id: str) -> Reply:
        return await self._get("/v1/events", query, caller, request_id)

    async def event_stream(
        self, caller: Caller, query: str, last_event_id: str | None, request_id: str
    ) -> Flow | Reply:
        try:
            return await self.analytics.follow("/v1/events", query, caller, request_id, last_event_id)
        except AnalyticsAway as error:
            raise _away() from error

    async def attempts(self, caller: Caller, endpoint_id: str, query: str, request_id: str) -> Reply:
        self.endpoints.own(caller, endpoint_id)
        return await self._get(f"/v1/webhooks/{endpoint_id}/attempts", query, caller, request_id)

    async def dead_letters(self, caller: Caller, query: str, request_id: str) -> Reply:
        return await self._get("/v1/dead-letters", query, caller, request_id)

    async def dead_letter_groups(self, caller: Caller, query: str, request_id: str) -> Reply:
        return await self._get("/v1/dead-letters/groups", query, caller, request_id)

    async def dead_letter(self, caller: Caller, message_id: str, query: str, request_id: str) -> Reply:
        ours = self.ids.verify(message_id, caller.project_id) is not None
        reply = await self._get(f"/v1/dead-letters/{message_id}", query, caller, request_id) if ours else None
        if reply is None or reply.status == NOT_FOUND:
            raise not_dead()
        return reply

    async def metrics(self, caller: Caller, query: str, request_id: str) -> Reply:
        return await self._get("/v1/metrics", query, caller, request_id)

    async def ledger(self, caller: Caller, query: str, request_id: str) -> Reply:
        return await self._get("/v1/ledger", query, caller, request_id)

    async def sandbox_mails(self, caller: Caller, query: str, request_id: str) -> Reply:
        return await self._get("/v1/sandbox/messages", query, caller, request_id)

    async def sandbox_mail(self, caller: Caller, message_id: str, query: str, request_id: str) -> Reply:
        ours = self.ids.verify(message_id, caller.project_id) is not None
        path = f"/v1/sandbox/messages/{message_id}"
        reply = await self._get(path, query, caller, request_id) if ours else None
        if reply is None or reply.status == NOT_FOUND:
            raise Refused("not_found", "There is no such mail in the sandbox.")
        return reply

    async def _of_message(self, message_id: str, what: str, query: str, caller: Caller, request_id: str) -> Reply:
        ours = self.ids.verify(message_id, caller.project_id) is not None
        reply = await self._get(f"/v1/messages/{message_id}{what}", query, caller, request_id) if ours else None
        if reply is None or reply.status == NOT_FOUND:
            raise no_such_message()
        return reply

    async def _get(self, path: str, query: str, caller: Caller, request_id: str) -> Reply:
        try:
            return await self.analytics.get(path, query, caller, request_id)
        except AnalyticsAway as error:
            raise _away() from error


def _away() -> Refused:
    message = "The read side does not answer; mail is accepted and sent all the same."
    return Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS)
