"""Tells the routers which provider is behind each destination, as it is found out (R21).

In bundles, behind the mail: it must never keep a delivery waiting, and what does not get into the log is found out again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.log import Log, LogUnavailable, outgoing
from chassis.telemetry import logger
from schemas.envelope import Envelope, seal
from schemas.routing import Destination
from schemas.topics import TOPICS
from services.sender import metrics

_TOPIC = TOPICS["destinations"]
_AGAIN_AFTER = 3600.0  # seconds, for a destination whose group stays
_EVERY = 0.5  # seconds between two bundles
_WITHIN = 10.0  # seconds for one
_BUNDLE, _MOST_WAITING, _MOST_KNOWN = 500, 10_000, 100_000

_log = logger("destinations")


class DestinationReports:
    """A part of the service (`chassis.service.Part`)."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._told: OrderedDict[str, tuple[str, float]] = OrderedDict()  # destination: group, when
        self._waiting: dict[str, Destination] = {}
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._telling = asyncio.create_task(self._tell_for_ever(), name="destinations")

    async def stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait({self._telling})

    def seen(self, destination: str, group: str, mx_hosts: Sequence[str]) -> None:
        told, now = self._told.get(destination), self._clock.monotonic()
        if told is not None and told[0] == group and now < told[1] + _AGAIN_AFTER:
            return
        if len(self._waiting) >= _MOST_WAITING:
            return  # the log is away: it is seen again
        self._note(destination, group, now)
        self._waiting[destination] = Destination(
            destination=destination,
            provider_group=group,
            mx_hosts=list(mx_hosts),
            resolved_at_ms=self._clock.now_ms(),
        )

    def _note(self, destination: str, group: str, now: float) -> None:
        self._told[destination] = (group, now)
        self._told.move_to_end(destination)
        while len(self._told) > _MOST_KNOWN:
            self._told.popitem(last=False)

    async def _tell_for_ever(self) -> None:
        while True:
            await self._clock.sleep(_EVERY)
            await self._tell()

    async def _tell(self) -> None:
        bundle = list(self._waiting.values())[:_BUNDLE]
        if not bundle:
            return
        try:
            await self._log.append(
                [outgoing(_TOPIC, self._sealed(each), key=each.destination) for each in bundle], within=_WITHIN
            )
        except LogUnavailable as error:
            _log.warning("destinations_not_told", count=len(bundle), reason=str(error))
            return
        metrics.DESTINATIONS_TOLD.inc(len(bundle))
        for each in bundle:
            if self._waiting.get(each.destination) is each:
                del self._waiting[each.destination]

    def _sealed(self, destination: Destination) -> Envelope[Destination]:
        now_ms = self._clock.now_ms()
        return seal(
            destination,
            record_id=new_id("rec", now_ms),
            source="sender",
            subject=destination.destination,
            time_ms=now_ms,
            project_id="",
        )
