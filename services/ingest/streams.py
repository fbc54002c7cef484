"""Open event streams (R35): how many there may be, and that none outlives its key (R13) or this process.

One look at all keys a while, however many streams there are. It must never read what goes through a stream.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from chassis.clock import Clock
from chassis.service import Crash
from services.ingest import metrics
from services.ingest.admission import Admission
from services.ingest.domain.faults import Refused

# Seconds. A look waits a second for tables that lag, so a stream ends at most 1.5 s after its key.
LOOK_EVERY = 0.5
RETRY_AFTER = 5


@dataclass(eq=False, slots=True)
class Stream:
    """One client that listens; `over` ends it."""

    project_id: str
    key_sha256: str
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """All streams of this process. Each replica grants a project its part."""

    def __init__(self, admission: Admission, clock: Clock, crash: Crash, *, per_project: int, in_all: int) -> None:
        self._admission = admission
        self._clock = clock
        self._crash = crash
        self._per_project = per_project
        self._in_all = in_all
        self._open: set[Stream] = set()
        self._of_project: Counter[str] = Counter()
        self._watching: asyncio.Task[None] | None = None
        self._closing = False
        metrics.event_streams.set_function(lambda: len(self._open))

    async def start(self) -> None:
        self._watching = asyncio.create_task(self._watch(), name="streams")
        self._crash.watch(self._watching)

    async def stop(self) -> None:
        """End them all: a client comes back to another replica, with the id of its last event."""
        self._closing = True
        for stream in self._open:
            self._end(stream, "shutdown")
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    def open(self, project_id: str, key_sha256: str) -> Stream:
        """A place for a stream; whoever has one calls `close`. Raises Refused: 429, or 503 where this process has no more."""
        if self._closing or len(self._open) >= self._in_all:
            raise Refused("unavailable", "There is no room for another stream here.", retry_after=RETRY_AFTER)
        if self._of_project[project_id] >= self._per_project:
            message = "The project has as many event streams open as it may."
            raise Refused("rate_limited", message, retry_after=RETRY_AFTER)
        stream = Stream(project_id, key_sha256)
        self._open.add(stream)
        self._of_project[project_id] += 1
        return stream

    def close(self, stream: Stream) -> None:
        self._open.discard(stream)
        self._of_project[stream.project_id] -= 1
        if not self._of_project[stream.project_id]:
            del self._of_project[stream.project_id]

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY)
            lapsed = await self._admission.lapsed({stream.key_sha256 for stream in self._open}) if self._open else ()
            for stream in self._open:
                if stream.key_sha256 in lapsed:
                    self._end(stream, "key")

    def _end(self, stream: Stream, why: str) -> None:
        if not stream.over.is_set():
            metrics.ended_streams.labels(why).inc()
            stream.over.set()
