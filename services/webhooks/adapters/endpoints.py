"""The endpoint table, by id and by project."""

from collections import defaultdict
from collections.abc import Iterable

from chassis.clock import Clock
from chassis.table import Table, Tables
from schemas.tables import WebhookEndpoint

_LOOK_EVERY = 0.01  # seconds; the table's own probe comes each 100 ms


class EndpointTable:
    """`services.webhooks.ports.Endpoints` on a `chassis.table.Table`."""

    def __init__(self, tables: Tables, table: Table[WebhookEndpoint], clock: Clock) -> None:
        self._tables = tables
        self._table = table
        self._clock = clock
        self._by_project: defaultdict[str, dict[str, WebhookEndpoint]] = defaultdict(dict)
        table.on_change(self._changed)

    def get(self, endpoint_id: str) -> WebhookEndpoint | None:
        return self._table.get(endpoint_id)

    def of_project(self, project_id: str) -> Iterable[WebhookEndpoint]:
        return self._by_project[project_id].values() if project_id in self._by_project else ()

    async def caught_up(self, *, within: float) -> bool:
        asked_at = self._clock.monotonic()
        while not self._tables.fresh_within(self._clock.monotonic() - asked_at):
            if self._clock.monotonic() - asked_at > within:
                return False
            await self._clock.sleep(_LOOK_EVERY)
        return True

    def _changed(self, key: str, before: WebhookEndpoint | None, after: WebhookEndpoint | None) -> None:
        if before is not None:
            endpoints = self._by_project[before.project_id]
            endpoints.pop(key, None)
            if not endpoints:
                del self._by_project[before.project_id]
        if after is not None:
            self._by_project[after.project_id][key] = after
