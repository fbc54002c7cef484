"""The suppression list by recipient, over the table, with the freshness that R11 demands of who sends."""

from collections import defaultdict
from collections.abc import Sequence

from chassis.table import LEASE, Table, Tables
from schemas.tables import Suppression


class SuppressionIndex:
    """Union over origins and scopes: a mail is suppressed while any origin lists its recipient, wholly or for its tag."""

    def __init__(self, tables: Tables, table: Table[Suppression]) -> None:
        self._tables = tables
        self._by_recipient: dict[tuple[str, str], dict[str, Suppression]] = defaultdict(dict)
        table.on_change(self._changed)

    def fresh(self, within: float = LEASE) -> bool:
        return self._tables.fresh_within(within)

    async def wait_fresh(self, within: float) -> bool:
        return await self._tables.wait_fresh(LEASE, within=within)

    def find(self, project_id: str, recipient: str, tags: Sequence[str]) -> Suppression | None:
        """The oldest of the records that hold for a mail with these tags: what stopped it first."""
        entries = self._by_recipient.get((project_id, recipient.lower()))
        if entries is None:
            return None
        found = [entry for entry in entries.values() if entry.scope == "*" or entry.scope in tags]
        return min(found, key=lambda entry: (entry.created_at, entry.id)) if found else None

    def _changed(self, key: str, before: Suppression | None, after: Suppression | None) -> None:
        if before is not None:
            place = (before.project_id, before.recipient.lower())
            self._by_recipient[place].pop(key, None)
            if not self._by_recipient[place]:
                del self._by_recipient[place]
        if after is not None:
            self._by_recipient[after.project_id, after.recipient.lower()][key] = after
