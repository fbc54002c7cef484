"""The suppression list as an index by recipient over the table, with the freshness that R11 demands of who starts mail."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from chassis.table import LEASE, Table, Tables
from schemas.tables import Suppression
from services.router.domain.decision import Listed
from services.router.metrics import STALE
from services.router.ports import OnListed

_WAIT = 1.0  # seconds a batch waits for a fresh list before its partition backs off


class SuppressionIndex:
    """Union over origins and scopes: listed while any origin lists the recipient, wholly or for a tag of the mail."""

    def __init__(self, tables: Tables, table: Table[Suppression]) -> None:
        self._tables = tables
        self._by_recipient: dict[tuple[str, str], dict[str, Suppression]] = defaultdict(dict)
        self._watchers: set[OnListed] = set()
        table.on_change(self._changed)

    async def fresh(self) -> bool:
        if self._tables.fresh_within(LEASE) or await self._tables.wait_fresh(LEASE, within=_WAIT):
            return True
        STALE.inc()
        return False

    def listed(self, project_id: str, address: str, tags: Sequence[str]) -> Listed | None:
        entries = self._by_recipient.get((project_id, address))
        if entries is None:
            return None
        found = _oldest([entry for entry in entries.values() if entry.scope == "*" or entry.scope in tags])
        return None if found is None else Listed(found.reason, found.source_event_id)

    def id_of(self, project_id: str, address: str) -> str | None:
        entries = self._by_recipient.get((project_id, address))
        found = None if entries is None else _oldest(entries.values())
        return None if found is None else found.id

    def watch(self, notify: OnListed) -> Callable[[], None]:
        self._watchers.add(notify)
        return lambda: self._watchers.discard(notify)

    def _changed(self, key: str, before: Suppression | None, after: Suppression | None) -> None:
        if before is not None:
            place = (before.project_id, before.recipient.lower())
            self._by_recipient[place].pop(key, None)
            if not self._by_recipient[place]:
                del self._by_recipient[place]
        if after is not None:
            address = after.recipient.lower()
            self._by_recipient[after.project_id, address][key] = after
            for notify in self._watchers:
                notify(after.project_id, address, after.id)


def _oldest(entries: Iterable[Suppression]) -> Suppression | None:
    """What stopped the mail first."""
    return min(entries, key=lambda entry: (entry.created_at, entry.id), default=None)
