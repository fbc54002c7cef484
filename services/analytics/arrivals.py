"""Who follows the feed is woken by the insert that brought something of its project: no follower ever polls.

Where several replicas share a store, one look a moment tells what the others have inserted, for all followers together
and only while there are some.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection

from chassis.clock import Clock
from chassis.service import Crash
from chassis.telemetry import logger
from services.analytics.metrics import STREAMS
from services.analytics.ports import FeedWatch, StoreUnavailable

_log = logger("arrivals")
LOOK_EVERY = 0.4  # seconds: what another replica has inserted is in the stream within a second


class Follower:
    """One stream: `more` is set whenever there may be something to read."""

    def __init__(self, project_id: str) -> None:
        self.project_id = project_id
        self.more = asyncio.Event()

    async def more_within(self, seconds: float) -> bool:
        """Whether there may be more by then."""
        try:
            async with asyncio.timeout(seconds):
                await self.more.wait()
        except TimeoutError:
            return False
        return True


class Arrivals:
    """All followers of this process; to be stopped before the HTTP server: `over` ends their streams.

    `watch`: where others insert into the same store, too.
    """

    def __init__(self, clock: Clock, crash: Crash, watch: FeedWatch | None = None) -> None:
        self.over = asyncio.Event()
        self._clock = clock
        self._crash = crash
        self._watch = watch
        self._followers: defaultdict[str, set[Follower]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None
        STREAMS.set_function(lambda: sum(map(len, self._followers.values())))

    async def start(self) -> None:
        if self._watch is not None:
            self._looking = asyncio.create_task(self._look(self._watch), name="arrivals")
            self._crash.watch(self._looking)

    async def stop(self) -> None:
        self.over.set()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def follow(self, project_id: str) -> Follower:
        """Whoever follows says so with `leave` when it ends."""
        follower = Follower(project_id)
        self._followers[project_id].add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        others = self._followers[follower.project_id]
        others.discard(follower)
        if not others:
            del self._followers[follower.project_id]

    def of(self, projects: Collection[str]) -> None:
        """Events of these projects can be read from now on."""
        for project_id in projects:
            for follower in self._followers.get(project_id, ()):
                follower.more.set()

    async def _look(self, watch: FeedWatch) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY)
            if self._followers:
                try:
                    self.of(await watch.new_projects())
                except StoreUnavailable as error:
                    _log.warning("look_failed", reason=str(error))
