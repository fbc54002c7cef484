"""Says once a second that this sender is there, which paths it takes, and how each fares (R20, R21).

Behind the mail: it must never keep a delivery waiting, and what does not get into the log is said again.
"""

import asyncio
from collections.abc import Callable, Sequence

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.log import Log, LogUnavailable, Outgoing, outgoing
from chassis.telemetry import logger
from schemas.envelope import seal
from schemas.routing import PathHealth, SenderAlive
from schemas.topics import TOPICS
from services.sender import metrics
from services.sender.adapters.slots import PacedSlots
from services.sender.domain.queue import W
from services.sender.domain.room import Key, Room
from services.sender.domain.tally import WINDOW_MS

_TOPIC = TOPICS["path-health"]
_EVERY = 1.0  # seconds
_ALL_EVERY = 10  # times: what has not changed, too, so that readers can tell it from what is gone
_WITHIN = 5.0  # seconds for one bundle
_BUNDLE = 500  # records; of more than that, those that were told longest ago

_log = logger("health")


class HealthReports:
    """A part of the service (`chassis.service.Part`). `paths`: those that this sender takes now."""

    def __init__(
        self, slots: PacedSlots, paths: Callable[[], Sequence[str]], log: Log, clock: Clock, *, pool: str, instance: str
    ) -> None:
        self._slots = slots
        self._paths = paths
        self._log = log
        self._clock = clock
        self._pool = pool
        self._instance = instance
        self._told: dict[Key, tuple[PathHealth, int]] = {}  # as of which round
        self._round = 0
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._telling = asyncio.create_task(self._tell_for_ever(), name="health")

    async def stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait({self._telling})

    async def _tell_for_ever(self) -> None:
        appending: asyncio.Task[None] | None = None
        while True:
            self._slots.tick()
            self._measure()
            if appending is None or appending.done():  # a log that is slow gets the next word when it has this one
                appending = asyncio.create_task(self._tell(), name="health-append")
            await self._clock.sleep(_EVERY)

    async def _tell(self) -> None:
        self._round += 1
        now_ms = self._log.broker_now_ms()
        fresh = self._fresh(now_ms)
        alive = SenderAlive(pool=self._pool, instance=self._instance, at_ms=now_ms, paths=list(self._paths()))
        records = [self._record(alive, self._name, now_ms)]
        records += [self._record(health, f"{self._name}:{':'.join(key)}", now_ms) for key, health in fresh]
        try:
            await self._log.append(records, within=_WITHIN)
        except LogUnavailable as error:
            _log.warning("health_not_told", count=len(records), reason=str(error))
            return
        self._told.update((key, (health, self._round)) for key, health in fresh)

    def _fresh(self, now_ms: int) -> list[tuple[Key, PathHealth]]:
        """What has changed, or was not said for long; rooms that are gone are forgotten."""
        seen = {room.key: self._health(room, now_ms) for room in self._slots.rooms() if room.path != "sandbox"}
        self._told = {key: told for key, told in self._told.items() if key in seen}
        changed = [(key, health) for key, health in seen.items() if self._is_news(key, health)]
        changed.sort(key=lambda each: self._told[each[0]][1] if each[0] in self._told else 0)
        return changed[:_BUNDLE]

    def _is_news(self, key: Key, health: PathHealth) -> bool:
        if key not in self._told:
            return True
        told, told_in = self._told[key]
        return (
            self._round - told_in >= _ALL_EVERY or told.model_copy(update={"taken_at_ms": health.taken_at_ms}) != health
        )

    def _health(self, room: Room[W], now_ms: int) -> PathHealth:
        closed_until_ms = room.standing.closed_until_ms
        return PathHealth(
            pool=self._pool,
            instance=self._instance,
            path=room.path,
            source_address=room.source_address or None,
            provider_group=room.group,
            taken_at_ms=now_ms,
            window_ms=WINDOW_MS,
            connections=room.running,
            limit=room.limit,
            closed_until_ms=closed_until_ms if closed_until_ms > now_ms else None,
            evidence=room.standing.evidence,
            **room.tally.sums(now_ms),
        )

    def _record(self, data: PathHealth | SenderAlive, key: str, now_ms: int) -> Outgoing:
        envelope = seal(
            data,
            record_id=new_id("rec", now_ms),
            source="sender",
            subject=self._name,
            time_ms=now_ms,
            project_id="",
        )
        return outgoing(_TOPIC, envelope, key=key)

    @property
    def _name(self) -> str:
        return f"{self._pool}:{self._instance}"

    def _measure(self) -> None:
        """Made anew each time: rooms come and go."""
        now_ms = self._log.broker_now_ms()
        gauges = (metrics.WAITING, metrics.OPEN, metrics.LIMIT, metrics.CLOSED)
        for gauge in gauges:
            gauge.clear()
        for room in self._slots.rooms():
            values = (len(room.waiting), room.running, room.limit, int(room.standing.closed(now_ms)))
            for gauge, value in zip(gauges, values, strict=True):
                gauge.labels(room.path, room.label).inc(value)
