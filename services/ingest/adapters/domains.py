"""Sender domains in their table, which is keyed by project and domain, also by their ids."""

from collections import Counter
from collections.abc import Sequence

from chassis.clock import Clock
from chassis.table import Table
from schemas.tables import Domain
from services.ingest.adapters.entities import TableEntities


class TableDomains(TableEntities[Domain]):
    """See `services.ingest.ports.DomainEntities`."""

    def __init__(self, table: Table[Domain], clock: Clock) -> None:
        super().__init__(table, clock)
        self._domains = table
        self._key_of: dict[str, str] = {}
        self._count: Counter[str] = Counter()
        table.on_change(self._indexed)

    def by_id(self, project_id: str, domain_id: str) -> Domain | None:
        return self.get(project_id, self._key_of.get(domain_id, ""))

    def count(self, project_id: str) -> int:
        return self._count[project_id]

    def all(self) -> Sequence[Domain]:
        return list(self._domains.values())

    def _indexed(self, key: str, before: Domain | None, after: Domain | None) -> None:
        if before is not None:
            self._key_of.pop(before.id, None)
            self._count[before.project_id] -= 1
        if after is not None:
            self._key_of[after.id] = key
            self._count[after.project_id] += 1
