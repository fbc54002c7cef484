"""The suppression list as customers change it (R11): once a POST is answered, nothing to that address starts any more.

Its own records have the origin `api`; the router writes the others. A DELETE is the customer's explicit word and so
lifts every origin, unless it names one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import derived_id, new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.events import SuppressionAdded, SuppressionChange, SuppressionRemoved
from schemas.tables import Suppression, suppression_key
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.suppression_list import (
    ORIGINS,
    NewSuppression,
    listed_form,
    read_origin,
    read_suppression,
    suppression_shown,
)
from services.ingest.ports import AccountEvents, Entities

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ManageSuppressions:
    clock: Clock
    suppressions: Entities[Suppression]
    events: AccountEvents

    async def add(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """Put the address on the list; a repeat keeps the id. Raises Refused, LogUnavailable."""
        new = read_suppression(body)
        key = suppression_key(caller.project_id, new.recipient, "api")
        suppression = self._as_asked(caller, key, new)
        await self.suppressions.put(key, suppression)
        applied_at = self.clock.monotonic()
        await self._publish(caller, SuppressionAdded, suppression)
        await self.clock.sleep(max(0.0, applied_at + ANSWER_AFTER - self.clock.monotonic()))
        return suppression_shown(suppression)

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.suppressions.page(caller.project_id, page)
        return [suppression_shown(suppression) for suppression in found], cursor

    def show(self, caller: Caller, address: str) -> Shown:
        """The newest record of the address, whatever its origin."""
        found = self._of_address(caller, address, None)
        return suppression_shown(max(found, key=lambda suppression: suppression.created_at))

    async def remove(self, caller: Caller, address: str, origin: str | None) -> Shown:
        """The event first: a repeat after a failure finds what is still there, and publishes the same id."""
        found = self._of_address(caller, address, origin)
        for suppression in found:
            await self._publish(caller, SuppressionRemoved, suppression)
            await self.suppressions.remove(
                suppression_key(caller.project_id, suppression.recipient, suppression.origin)
            )  # fmt: skip
        return {"object": "suppression", "recipient": found[0].recipient, "deleted": True}

    def _as_asked(self, caller: Caller, key: str, new: NewSuppression) -> Suppression:
        present = self.suppressions.get(caller.project_id, key)
        if present is not None:
            return present.model_copy(update={"reason": new.reason})
        now_ms = self.clock.now_ms()
        return Suppression(
            id=new_id("sup", now_ms),
            project_id=caller.project_id,
            scope="*",
            recipient=new.recipient,
            reason=new.reason,
            origin="api",
            source_event_id=None,
            created_at=to_timestamp(now_ms),
        )

    def _of_address(self, caller: Caller, address: str, origin: str | None) -> list[Suppression]:
        """Raises Refused: 404 where there is none."""
        origins = ORIGINS if origin is None else read_origin(origin)
        recipient = listed_form(address)
        keys = [] if recipient is None else [suppression_key(caller.project_id, recipient, name) for name in origins]
        found = [self.suppressions.get(caller.project_id, key) for key in keys]
        present = [suppression for suppression in found if suppression is not None]
        if not present:
            raise Refused("not_found", "This address is not on the suppression list.")
        return present

    async def _publish(self, caller: Caller, kind: type[SuppressionChange], suppression: Suppression) -> None:
        change = kind(
            id=suppression.id,
            recipient=suppression.recipient,
            reason=suppression.reason,
            origin=suppression.origin,
            source_event_id=suppression.source_event_id,
            by=caller.key_id,
        )
        event_id = derived_id("evt", suppression.id, kind.TYPE, suppression.reason)
        await self.events.publish(caller.project_id, event_id, suppression.id, change, self.clock.now_ms())
