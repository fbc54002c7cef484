"""Commands to the router, and its verdicts on `replies`, for the requests that wait here.

The topic is read from its end at the start: what came before was for a process that has ended. A verdict counts only
where it is addressed to this very process; every other replica reads all of them, too.
"""

import asyncio
from collections import defaultdict

from chassis.clock import Clock
from chassis.ids import derived_id, new_id, parse_message_id
from chassis.log import Incoming, Log, outgoing
from chassis.tail import Tail
from chassis.telemetry import logger
from schemas.envelope import MalformedRecord, decode, seal
from schemas.inputs import Command
from schemas.replies import REPLIES, Verdict
from schemas.topics import TOPICS, message_inputs
from services.ingest import metrics

_TOPIC = TOPICS["replies"]
_SILENT_SECONDS = 2.0  # without an answer of the brokers: no verdict would be seen
_log = logger("replies")


class LogCommands:
    """`reply_to` names this start of the process, so that a restarted one never takes an old verdict."""

    def __init__(self, log: Log, tail: Tail, clock: Clock, *, instance: str) -> None:
        self.reply_to = f"{instance}.{new_id('ing', clock.now_ms())}"
        self._log = log
        self._tail = tail
        self._clock = clock
        self._waiting: defaultdict[str, list[asyncio.Future[Verdict]]] = defaultdict(list)  # by request id
        self._following = False

    async def start(self) -> None:
        await self._tail.start()
        await self._tail.follow(_TOPIC.name, 0, self._apply, "latest")
        self._following = True

    async def stop(self) -> None:
        self._following = False
        await self._tail.stop()

    def ready(self) -> bool:
        return self._following and self._tail.seconds_since_poll() < _SILENT_SECONDS

    async def ask(self, project_id: str, command: Command, *, within: float) -> Verdict | None:
        """Append the command and wait; None where no verdict came within so many seconds. Raises LogUnavailable."""
        deadline = self._clock.monotonic() + within
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting[command.request_id].append(verdict)
        try:
            await self._append(project_id, command, within)
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                return await verdict
        except TimeoutError:
            return None
        finally:
            self._forget(command.request_id, verdict)

    async def _append(self, project_id: str, command: Command, within: float) -> None:
        place = parse_message_id(command.message_id)
        assert place is not None, "the id has been verified"
        envelope = seal(
            command,
            record_id=derived_id("inp", command.message_id, command.request_id),
            source="ingest",
            subject=command.message_id,
            time_ms=self._clock.now_ms(),
            project_id=project_id,
        )
        topic = message_inputs(place.lane)
        record = outgoing(topic, envelope, key=command.message_id, partition=place.partition)
        await self._log.append([record], within=within)

    def _forget(self, request_id: str, verdict: asyncio.Future[Verdict]) -> None:
        self._waiting[request_id].remove(verdict)
        if not self._waiting[request_id]:
            del self._waiting[request_id]

    def _apply(self, record: Incoming) -> None:
        if record.key != self.reply_to:
            return
        try:
            verdict = decode(record.value, REPLIES).data
        except MalformedRecord as error:
            _log.error("verdict_unreadable", offset=record.offset, reason=str(error))
            metrics.unreadable_verdicts.inc()
            return
        for waiting in self._waiting.get(verdict.request_id, ()):
            if not waiting.done():
                waiting.set_result(verdict)
