"""Cancel, move, release (R6, R7): asked of the router through the log, answered with its verdict.

Whether a message can still be changed is decided by the router alone, in log order. It must never be guessed here from
what the read side shows, and no answer depends on the read side.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from chassis.clock import Clock
from chassis.ids import MessageIds
from chassis.log import LogUnavailable
from schemas.inputs import Cancel, Command, Release, Reschedule
from schemas.replies import Verdict
from services.ingest import metrics
from services.ingest.domain.access import Caller, may
from services.ingest.domain.commands import (
    Asking,
    CommandKind,
    brief_view,
    check_done,
    command_id,
    no_such_message,
    no_verdict,
    read_scheduled,
    shows,
)
from services.ingest.domain.submission import parse_object
from services.ingest.ports import Analytics, AnalyticsAway, Commands

VERDICT_SECONDS = 2.5  # as for every request: a client that waits longer has its own time-out by then
_LOOK_SECONDS = 0.5  # for the whole message; what is certain of it is known without
_FOUND = 200


@dataclass(frozen=True, slots=True)
class ManageMessages:
    """Every command gives the message afterwards, as JSON. Raises Refused."""

    clock: Clock
    ids: MessageIds
    commands: Commands
    analytics: Analytics

    async def cancel(self, caller: Caller, message_id: str, asking: Asking) -> bytes:
        self._check_own(caller, message_id)
        command = Cancel(**self._request(caller, message_id, "cancel", asking))
        return await self._carry_out(caller, "cancel", command, asking)

    async def reschedule(self, caller: Caller, message_id: str, raw: bytes, asking: Asking) -> bytes:
        self._check_own(caller, message_id)
        scheduled_ms = read_scheduled(parse_object(raw), self.clock.now_ms())
        request = self._request(caller, message_id, f"reschedule:{scheduled_ms}", asking)
        return await self._carry_out(caller, "reschedule", Reschedule(**request, scheduled_ms=scheduled_ms), asking)

    async def release(self, caller: Caller, message_id: str, asking: Asking) -> bytes:
        self._check_own(caller, message_id)
        command = Release(**self._request(caller, message_id, "release", asking))
        return await self._carry_out(caller, "release", command, asking)

    def _check_own(self, caller: Caller, message_id: str) -> None:
        """404 without a look-up for what is not this project's."""
        if self.ids.verify(message_id, caller.project_id) is None:
            raise no_such_message()

    def _request(self, caller: Caller, message_id: str, what: str, asking: Asking) -> dict[str, Any]:
        """What every command says."""
        return {
            "message_id": message_id,
            "request_id": command_id(caller.project_id, message_id, what, asking),
            "reply_to": self.commands.reply_to,
            "by": caller.key_id,
        }

    async def _carry_out(self, caller: Caller, kind: CommandKind, command: Command, asking: Asking) -> bytes:
        begun = self.clock.monotonic()
        verdict = await self._verdict(caller.project_id, command)
        metrics.commands.labels(kind, "none" if verdict is None else verdict.verdict).inc()
        if verdict is None:
            raise no_verdict()
        metrics.command_seconds.observe(self.clock.monotonic() - begun)
        check_done(verdict)
        return await self._whole(caller, verdict, asking) or orjson.dumps(brief_view(verdict))

    async def _verdict(self, project_id: str, command: Command) -> Verdict | None:
        """None where there was none in time: the command may still be decided."""
        if not self.commands.ready():
            return None
        try:
            return await self.commands.ask(project_id, command, within=VERDICT_SECONDS)
        except LogUnavailable:
            return None

    async def _whole(self, caller: Caller, verdict: Verdict, asking: Asking) -> bytes | None:
        """The message as the read side shows it, where this key may read it and that side is up to the verdict."""
        if not may(caller, "messages.read"):
            return None
        path = f"/v1/messages/{verdict.message_id}"
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                reply = await self.analytics.get(path, "", caller, asking.request_id)
        except (AnalyticsAway, TimeoutError):
            return None
        return reply.body if reply.status == _FOUND and shows(orjson.loads(reply.body), verdict) else None
