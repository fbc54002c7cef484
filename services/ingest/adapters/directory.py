"""Keys, projects and domains as the tables of this process know them, and the lease under which they may be believed."""

from collections.abc import Mapping

from chassis.table import LEASE, Table, Tables
from schemas.tables import ApiKey, Domain, Project
from services.ingest.domain.access import Caller, KnownKey, known_key_of
from services.ingest.domain.projects import requests_per_minute_of


class TableFreshness:
    """Waits a moment for the lease; a broker that is away for longer means 503."""

    def __init__(self, tables: Tables, *, within: float) -> None:
        self._tables = tables
        self._within = within

    async def wait_fresh(self) -> bool:
        return self._tables.fresh_within(LEASE) or await self._tables.wait_fresh(LEASE, within=self._within)


class KeyIndex:
    """The key table by the hash of the key, and what each key is granted."""

    def __init__(self, table: Table[ApiKey], projects: Mapping[str, Project]) -> None:
        self._projects = projects
        self._by_hash: dict[str, KnownKey] = {}
        table.on_change(self._changed)

    def by_hash(self, sha256: str) -> KnownKey | None:
        return self._by_hash.get(sha256)

    def per_minute(self, caller: Caller) -> int:
        if caller.requests_per_minute is not None:
            return caller.requests_per_minute
        return requests_per_minute_of(self._projects.get(caller.project_id))

    def _changed(self, _: str, before: ApiKey | None, after: ApiKey | None) -> None:
        if before is not None:
            self._by_hash.pop(before.sha256, None)
        if after is not None:
            self._by_hash[after.sha256] = known_key_of(after)


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
