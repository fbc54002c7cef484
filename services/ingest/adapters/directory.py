"""Keys, projects and domains as the tables of this process know them, and the lease under which they may be believed."""

from collections.abc import Mapping

from chassis.table import LEASE, Table, Tables
from schemas.tables import ApiKey, Domain, Project


class TableFreshness:
    """Waits a moment for the lease; a broker that is away for longer means 503."""

    def __init__(self, tables: Tables, *, within: float) -> None:
        self._tables = tables
        self._within = within

    async def wait_fresh(self) -> bool:
        return self._tables.fresh_within(LEASE) or await self._tables.wait_fresh(LEASE, within=self._within)


class KeyIndex:
    """The key table by the hash of the key."""

    def __init__(self, table: Table[ApiKey]) -> None:
        self._by_hash: dict[str, ApiKey] = {}
        table.on_change(self._changed)

    def by_hash(self, sha256: str) -> ApiKey | None:
        return self._by_hash.get(sha256)

    def _changed(self, _: str, before: ApiKey | None, after: ApiKey | None) -> None:
        if before is not None:
            self._by_hash.pop(before.sha256, None)
        if after is not None:
            self._by_hash[after.sha256] = after


class SenderDirectory:
    """Projects and the domains they have verified."""

    def __init__(self, projects: Mapping[str, Project], domains: Mapping[str, Domain]) -> None:
        self._projects = projects
        self._domains = domains

    def project(self, project_id: str) -> Project | None:
        return self._projects.get(project_id)

    def owns_domain(self, project_id: str, domain: str) -> bool:
        found = self._domains.get(f"{project_id}:{domain}")
        return found is not None and found.verified_at is not None
