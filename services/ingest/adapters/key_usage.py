"""When keys were last used: noted in memory with every request, written to a compacted topic once a minute.

A crash loses at most the last minute of it. It must never slow a request down, nor fail one.
"""

import asyncio

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.log import Log, LogUnavailable, Outgoing, outgoing
from chassis.service import Crash
from chassis.table import Table
from chassis.telemetry import logger
from schemas.envelope import seal, to_timestamp
from schemas.tables import ApiKeyUsage
from schemas.topics import TOPICS
from services.ingest.domain.access import Caller

FLUSH_EVERY = 60.0  # seconds: the resolution that is shown
_MINUTE_MS = 60_000
_WITHIN = 10.0  # seconds: nobody waits for it
_STOPPING_WITHIN = 1.0  # seconds of a shutdown

logs = logger("key_usage")


class TableKeyUsage:
    """A part: it notes from the beginning on, and writes while it runs."""

    def __init__(self, table: Table[ApiKeyUsage], log: Log, clock: Clock, crash: Crash) -> None:
        self._table = table
        self._log = log
        self._clock = clock
        self._crash = crash
        self._used: dict[str, tuple[str, int]] = {}  # project and Unix ms by key id, since the last flush
        self._flushing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._flushing = asyncio.create_task(self._flush_for_ever(), name="key-usage")
        self._crash.watch(self._flushing)

    async def stop(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait({self._flushing})
        await self.flush(within=_STOPPING_WITHIN)

    def used(self, caller: Caller) -> None:
        self._used[caller.key_id] = (caller.project_id, self._clock.now_ms())

    def last_used(self, key_id: str) -> str | None:
        """The later of what all replicas have written and what this one has noted."""
        written, noted = self._table.get(key_id), self._used.get(key_id)
        found = [written.last_used_at] if written is not None else []
        return max([*found, _minute_of(noted[1])] if noted is not None else found, default=None)

    async def flush(self, *, within: float = _WITHIN) -> None:
        """Write what the table does not say yet; what could not be written is tried again with the next flush."""
        noted, self._used = self._used, {}
        records = [
            self._record(ApiKeyUsage(id=key_id, project_id=project_id, last_used_at=_minute_of(used_ms)))
            for key_id, (project_id, used_ms) in noted.items()
            if (written := self._table.get(key_id)) is None or written.last_used_at < _minute_of(used_ms)
        ]
        if not records:
            return
        try:
            await self._log.append(records, within=within)
        except LogUnavailable as error:
            logs.warning("key_usage_not_written", keys=len(records), reason=str(error))
            self._used = noted | self._used

    def _record(self, usage: ApiKeyUsage) -> Outgoing:
        now_ms = self._clock.now_ms()
        envelope = seal(
            usage,
            record_id=new_id("rec", now_ms),
            source="ingest",
            subject=usage.id,
            time_ms=now_ms,
            project_id=usage.project_id,
        )
        return outgoing(TOPICS["api-key-usage"], envelope, key=usage.id)

    async def _flush_for_ever(self) -> None:
        while True:
            await self._clock.sleep(FLUSH_EVERY)
            await self.flush()


def _minute_of(ms: int) -> str:
    return to_timestamp(ms // _MINUTE_MS * _MINUTE_MS)
