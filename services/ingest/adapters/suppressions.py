"""The suppression list of each project: by address, and searched a bounded stretch at a time."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from chassis.clock import Clock
from chassis.table import Table
from schemas.tables import Suppression
from services.ingest.adapters.entities import TableEntities
from services.ingest.domain.pages import PageRequest, cursor_of
from services.ingest.domain.suppression_list import Selection

# Entries that one request looks at (some 5 ms): a search in a long list goes on behind the cursor, over several pages.
MOST_SEEN = 10_000


class SuppressionEntities(TableEntities[Suppression]):
    """See `services.ingest.ports.SuppressionList`."""

    def __init__(self, table: Table[Suppression], clock: Clock) -> None:
        super().__init__(table, clock)
        self._by_address: defaultdict[tuple[str, str], dict[str, Suppression]] = defaultdict(dict)
        table.on_change(self._index)

    def of_address(self, project_id: str, recipient: str) -> Sequence[Suppression]:
        return list(self._by_address.get((project_id, recipient), {}).values())

    def search(
        self, project_id: str, page: PageRequest, selection: Selection
    ) -> tuple[Sequence[Suppression], str | None]:
        order = self._order.get(project_id, [])
        end = len(order) if page.after is None else bisect_left(order, page.after)
        stop = max(0, end - MOST_SEEN)
        found: list[Suppression] = []
        while end > stop and len(found) < page.limit:
            end -= 1
            entry = self._table[order[end][1]]
            if selection.takes(entry):
                found.append(entry)
        return found, cursor_of(order[end]) if end > 0 else None

    def _index(self, key: str, before: Suppression | None, after: Suppression | None) -> None:
        if before is not None:
            place = (before.project_id, before.recipient)
            self._by_address[place].pop(key, None)
            if not self._by_address[place]:
                del self._by_address[place]
        if after is not None:
            self._by_address[after.project_id, after.recipient][key] = after
