"""The table of endpoints, by project, with their secrets opened only when something is signed."""

from collections import defaultdict
from collections.abc import Sequence

from chassis.sealing import Seals, WrongSealingKey
from chassis.table import LEASE, Table, Tables
from schemas.tables import WebhookEndpoint
from services.webhooks.ports import SecretUnreadable

_WAIT = 1.0  # seconds a batch waits for a fresh table before its partition backs off


class TableEndpoints:
    """`services.webhooks.ports.Endpoints` over the compacted topic."""

    def __init__(self, tables: Tables, table: Table[WebhookEndpoint], seals: Seals) -> None:
        self._tables = tables
        self._table = table
        self._seals = seals
        self._by_project: defaultdict[str, dict[str, WebhookEndpoint]] = defaultdict(dict)
        table.on_change(self._changed)

    def of_project(self, project_id: str) -> Sequence[WebhookEndpoint]:
        return list(self._by_project[project_id].values()) if project_id in self._by_project else []

    def get(self, endpoint_id: str) -> WebhookEndpoint | None:
        return self._table.get(endpoint_id)

    async def fresh(self) -> bool:
        return self._tables.fresh_within(LEASE) or await self._tables.wait_fresh(LEASE, within=_WAIT)

    def secrets(self, endpoint: WebhookEndpoint) -> Sequence[str]:
        try:
            return [self._seals.open(endpoint.sealed_secret)]
        except WrongSealingKey as error:
            raise SecretUnreadable(str(error)) from error

    def _changed(self, key: str, before: WebhookEndpoint | None, after: WebhookEndpoint | None) -> None:
        if before is not None:
            self._by_project[before.project_id].pop(key, None)
        if after is not None:
            self._by_project[after.project_id][key] = after
