"""The tables behind the routing index, read from Kafka by a tail of their own process part (R20, R21).

A table that lags is no reason to stop, and one that is not there holds up the start for some seconds only: mail goes on
by what is known, and readiness names the topic that is missing.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from chassis.clock import Clock
from chassis.log import Log, LogUnavailable
from chassis.table import Table
from chassis.tail import Tail
from chassis.telemetry import logger
from schemas.routing import (
    Destination,
    PathHealth,
    Policy,
    QueueFlush,
    QueuePause,
    Route,
    SenderAlive,
    Upstream,
)
from schemas.tables import Domain
from schemas.topics import TOPICS
from services.router.adapters.routing_index import RoutingIndex

_READ_WITHIN = 10.0  # seconds: longer than any of these takes to read where the brokers are well

_log = logger("routing")


class RoutingTables:
    """A part of the service (`chassis.service.Part`); `tail` is started and stopped by its owner."""

    def __init__(self, log: Log, tail: Tail, clock: Clock, index: RoutingIndex) -> None:
        def table(entry_type: type[Any], topic: Any, notify: Callable[..., None], *more: type[Any]) -> Table[Any]:
            made: Table[Any] = Table(topic, entry_type, log, tail, clock, *more)
            made.on_change(notify)
            return made

        self._tail = tail
        self._tables: Sequence[Table[Any]] = (
            table(Route, TOPICS["routes"], index.route_changed),
            table(Upstream, TOPICS["upstreams"], index.upstream_changed),
            table(Policy, TOPICS["policies"], index.policy_changed),
            table(QueuePause, TOPICS["queue-controls"], index.control_changed, QueueFlush),
            table(Destination, TOPICS["destinations"], index.destination_changed),
            table(PathHealth, TOPICS["path-health"], index.health_changed, SenderAlive),
            table(Domain, TOPICS["domains"], index.domain_changed),
        )
        self._following: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when it knows what there was at the call, or after some seconds: the rest comes later."""
        self._following = [asyncio.create_task(self._follow(table), name="routing-table") for table in self._tables]
        _, late = await asyncio.wait(self._following, timeout=_READ_WITHIN)
        if late:
            _log.error("routing_tables_not_read", tables=len(late))

    async def stop(self) -> None:
        for task in self._following:
            task.cancel()
        if self._following:
            await asyncio.wait(self._following)

    async def _follow(self, table: Table[Any]) -> None:
        for partition in range(table.topic.partitions):
            await self._tail.follow(table.topic.name, partition, table.apply)
        try:
            for partition in range(table.topic.partitions):
                await self._tail.caught_up(table.topic.name, partition, within=_READ_WITHIN)
        except LogUnavailable as error:
            _log.warning("routing_table_lags", topic=table.topic.name, reason=str(error))
