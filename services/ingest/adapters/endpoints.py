"""Webhook endpoints as they stand: what their owners wrote, and what the service webhooks has found since."""

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.table import Table
from schemas.tables import EndpointHealth, WebhookEndpoint, as_it_stands
from services.ingest.adapters.entities import TableEntities
from services.ingest.domain.pages import PageRequest


class StandingEndpoints(TableEntities[WebhookEndpoint]):
    """See `services.ingest.ports.Entities`."""

    def __init__(self, table: Table[WebhookEndpoint], health: Table[EndpointHealth], clock: Clock) -> None:
        super().__init__(table, clock)
        self._health = health

    def get(self, project_id: str, key: str) -> WebhookEndpoint | None:
        found = super().get(project_id, key)
        return None if found is None else as_it_stands(found, self._health.get(key))

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[WebhookEndpoint], str | None]:
        found, cursor = super().page(project_id, page)
        return [as_it_stands(endpoint, self._health.get(endpoint.id)) for endpoint in found], cursor
