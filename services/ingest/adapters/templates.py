"""Templates in their compacted topic: who holds a name, and which versions there are, as the order of the log says.

A number or a name that two writers took at once belongs to the first in the log; the other sees that when its own
record is applied. So every replica, and every later start, comes to the same answer.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import Table
from schemas.envelope import Payload, seal
from schemas.templates import Template, TemplateVersion, version_key
from services.ingest.domain.pages import PageRequest, Position, cursor_of


class TableTemplates:
    """The table, with an index of names and of versions."""

    def __init__(self, table: Table[Payload], clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._heads: dict[str, Template] = {}
        self._by_name: defaultdict[tuple[str, str], list[str]] = defaultdict(list)  # ids; the first holds the name
        self._order: defaultdict[str, list[Position]] = defaultdict(list)  # by project; what is not deleted
        self._deleted: defaultdict[str, set[str]] = defaultdict(set)  # ids by project
        self._versions: defaultdict[str, dict[int, list[TemplateVersion]]] = defaultdict(dict)  # first: the holder
        self._octets: defaultdict[str, int] = defaultdict(int)  # of sources, by project
        table.on_change(self._changed)

    def find(self, project_id: str, name_or_id: str) -> Template | None:
        """What is not deleted."""
        ids = self._by_name.get((project_id, name_or_id))
        head = self._heads.get(ids[0] if ids else name_or_id)
        return head if head is not None and head.project_id == project_id and head.deleted_at is None else None

    def version(self, template_id: str, number: int) -> TemplateVersion | None:
        """Also of a template that is deleted."""
        found = self._versions.get(template_id, {}).get(number)
        return found[0] if found else None

    def numbers(self, template_id: str) -> Sequence[int]:
        """The versions there are, in order."""
        return sorted(self._versions.get(template_id, {}))

    def page(self, project_id: str, page: PageRequest) -> tuple[Sequence[Template], str | None]:
        order = self._order.get(project_id, [])
        end = len(order) if page.after is None else bisect_left(order, page.after)
        begin = max(0, end - page.limit)
        return [self._heads[key] for _, key in reversed(order[begin:end])], (
            cursor_of(order[begin]) if begin > 0 else None
        )

    def count(self, project_id: str) -> int:
        return len(self._order.get(project_id, []))

    def octets(self, project_id: str) -> int:
        """Of all sources that are kept for the project."""
        return self._octets.get(project_id, 0)

    def deleted(self, project_id: str) -> Sequence[Template]:
        return [self._heads[key] for key in self._deleted.get(project_id, ())]

    async def put(self, template: Template) -> None:
        await self._put(template.id, template.project_id, template.id, template)

    async def put_version(self, version: TemplateVersion) -> None:
        await self._put(version_key(version), version.project_id, version.id, version)

    async def remove_version(self, version: TemplateVersion) -> None:
        await self._table.remove(version_key(version))

    async def remove(self, template: Template) -> None:
        """The head last: while it is there, a sweep finds what is left."""
        for found in list(self._versions.get(template.id, {}).values()):
            for version in list(found):
                await self.remove_version(version)
        await self._table.remove(template.id)

    async def _put(self, key: str, project_id: str, subject: str, data: Payload) -> None:
        now_ms = self._clock.now_ms()
        envelope = seal(
            data,
            record_id=new_id("rec", now_ms),
            source="ingest",
            subject=subject,
            time_ms=now_ms,
            project_id=project_id,
        )
        await self._table.put(key, envelope)

    def _changed(self, _: str, before: Payload | None, after: Payload | None) -> None:
        match before:
            case Template():
                self._forget(before, keeps_name=isinstance(after, Template) and after.deleted_at is None)
            case TemplateVersion():
                self._forget_version(before)
        match after:
            case Template():
                self._learn(after)
            case TemplateVersion():
                self._versions[after.id].setdefault(after.version, []).append(after)
                self._octets[after.project_id] += _octets_of(after)

    def _learn(self, head: Template) -> None:
        self._heads[head.id] = head
        if head.deleted_at is not None:
            self._deleted[head.project_id].add(head.id)
            return
        insort(self._order[head.project_id], (head.created_at, head.id))
        holders = self._by_name[(head.project_id, head.name)]
        if head.id not in holders:
            holders.append(head.id)

    def _forget(self, head: Template, *, keeps_name: bool) -> None:
        del self._heads[head.id]
        if head.deleted_at is not None:
            self._deleted[head.project_id].discard(head.id)
            return
        order = self._order[head.project_id]
        del order[bisect_left(order, (head.created_at, head.id))]
        holders = self._by_name[(head.project_id, head.name)]
        if not keeps_name:
            holders.remove(head.id)
        if not holders:
            del self._by_name[(head.project_id, head.name)]

    def _forget_version(self, version: TemplateVersion) -> None:
        numbers = self._versions[version.id]
        numbers[version.version].remove(version)
        if not numbers[version.version]:
            del numbers[version.version]
        if not numbers:
            del self._versions[version.id]
        self._octets[version.project_id] -= _octets_of(version)


def _octets_of(version: TemplateVersion) -> int:
    return sum(len(part.encode()) for part in (version.subject, version.text, version.html) if part)
