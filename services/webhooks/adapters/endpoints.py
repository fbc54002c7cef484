"""The endpoint table, by id and by project, and what is known of the endpoints' health."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from chassis.clock import Clock
from chassis.failures import Retry
from chassis.ids import new_id
from chassis.log import Log, outgoing
from chassis.table import Table, Tables
from schemas.envelope import Envelope, Payload, seal
from schemas.tables import EndpointExhaustion, EndpointHealth, WebhookEndpoint, as_it_stands
from schemas.topics import TOPICS
from services.webhooks.domain.records import SOURCE

_ACCOUNT = TOPICS["account-events"]
_LOOK_EVERY = 0.01  # seconds; the table's own probe comes each 100 ms
_KNOWN_WITHIN = 2.0  # seconds to find out that an unknown endpoint really is none
_RETRY_AFTER = 0.5
_WITHIN = 5.0  # seconds for an append

P = TypeVar("P", EndpointHealth, EndpointExhaustion)


class EndpointTable:
    """`services.webhooks.ports.Endpoints` on `chassis.table.Table`s."""

    def __init__(
        self, tables: Tables, table: Table[WebhookEndpoint], health: Table[EndpointHealth], clock: Clock
    ) -> None:
        self._tables = tables
        self._table = table
        self._health = health
        self._clock = clock
        self._standing: dict[str, WebhookEndpoint] = {}
        self._by_project: defaultdict[str, dict[str, WebhookEndpoint]] = defaultdict(dict)
        table.on_change(lambda key, _, __: self._changed(key))
        health.on_change(lambda key, _, __: self._changed(key))

    async def find(self, endpoint_id: str) -> WebhookEndpoint | None:
        if endpoint_id not in self._standing and not await self.caught_up(within=_KNOWN_WITHIN):
            raise Retry(_RETRY_AFTER, "the endpoints are not known as of now")
        return self._standing.get(endpoint_id)

    def rate_of(self, endpoint_id: str) -> float | None:
        """Requests per second that it wants at most; None where it says nothing."""
        endpoint = self._standing.get(endpoint_id)
        return None if endpoint is None else endpoint.rate_per_second

    def of_project(self, project_id: str) -> Iterable[WebhookEndpoint]:
        return self._by_project[project_id].values() if project_id in self._by_project else ()

    async def caught_up(self, *, within: float) -> bool:
        asked_at = self._clock.monotonic()
        while not self._tables.fresh_within(self._clock.monotonic() - asked_at):
            if self._clock.monotonic() - asked_at > within:
                return False
            await self._clock.sleep(_LOOK_EVERY)
        return True

    def _changed(self, key: str) -> None:
        before = self._standing.pop(key, None)
        if before is not None:
            endpoints = self._by_project[before.project_id]
            endpoints.pop(key, None)
            if not endpoints:
                del self._by_project[before.project_id]
        endpoint = self._table.get(key)
        if endpoint is not None:
            standing = self._standing[key] = as_it_stands(endpoint, self._health.get(key))
            self._by_project[endpoint.project_id][key] = standing


class HealthTable:
    """`services.webhooks.ports.Health`: compacted topics that all processes read, and account events for everybody."""

    def __init__(
        self, health: Table[EndpointHealth], exhaustions: Table[EndpointExhaustion], log: Log, clock: Clock
    ) -> None:
        self._health = health
        self._exhaustions = exhaustions
        self._log = log
        self._clock = clock

    def of(self, endpoint_id: str) -> EndpointHealth | None:
        return self._health.get(endpoint_id)

    async def change(
        self, endpoint: WebhookEndpoint, health: EndpointHealth | None, events: Sequence[Envelope[Payload]]
    ) -> None:
        await self._publish(events)
        if health is None:
            await self._health.remove(endpoint.id)
        else:
            await self._health.put(endpoint.id, self._sealed(health, endpoint))

    def exhausted(self, endpoint_id: str) -> EndpointExhaustion | None:
        return self._exhaustions.get(endpoint_id)

    async def tell_exhausted(self, endpoint: WebhookEndpoint, event: Envelope[Payload]) -> None:
        await self._publish([event])
        told = EndpointExhaustion(id=endpoint.id, project_id=endpoint.project_id, told_at=event.time)
        await self._exhaustions.put(endpoint.id, self._sealed(told, endpoint))

    async def _publish(self, events: Sequence[Envelope[Payload]]) -> None:
        await self._log.append([outgoing(_ACCOUNT, event, key=event.project_id) for event in events], within=_WITHIN)

    def _sealed(self, data: P, endpoint: WebhookEndpoint) -> Envelope[P]:
        now_ms = self._clock.now_ms()
        return seal(
            data,
            record_id=new_id("rec", now_ms),
            source=SOURCE,
            subject=endpoint.id,
            time_ms=now_ms,
            project_id=endpoint.project_id,
        )
