"""The suppression list as customers change it (R11): once a POST is answered, nothing to that address starts any more.

Its own records have the origin `api` (`unsubscribe`, where that is the reason); the router writes the others. A DELETE
is the customer's explicit word and so lifts every cause, unless it names an origin, a reason or a tag.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import derived_id, new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.events import SuppressionAdded, SuppressionChange, SuppressionReason, SuppressionRemoved
from schemas.tables import Suppression, suppression_key
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.suppression_list import (
    EVERYTHING,
    NewSuppression,
    Selection,
    address_shown,
    listed_form,
    read_suppression,
    suppression_shown,
)
from services.ingest.ports import AccountEvents, SuppressionList

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ManageSuppressions:
    clock: Clock
    suppressions: SuppressionList
    events: AccountEvents

    async def add(self, caller: Caller, body: Mapping[str, Any], only: SuppressionReason | None = None) -> Shown:
        """Put the address on the list; a repeat keeps the id. Raises Refused, LogUnavailable."""
        new = read_suppression(body, only)
        key = suppression_key(caller.project_id, new.recipient, new.origin, new.scope)
        suppression = self._as_asked(caller, key, new)
        await self.suppressions.put(key, suppression)
        applied_at = self.clock.monotonic()
        await self._publish(caller, SuppressionAdded, suppression)
        await self.clock.sleep(max(0.0, applied_at + ANSWER_AFTER - self.clock.monotonic()))
        return suppression_shown(suppression)

    def page(
        self, caller: Caller, page: PageRequest, selection: Selection = EVERYTHING
    ) -> tuple[list[Shown], str | None]:
        found, cursor = self.suppressions.search(caller.project_id, page, selection)
        return [suppression_shown(suppression) for suppression in found], cursor

    def show(self, caller: Caller, address: str, selection: Selection = EVERYTHING) -> Shown:
        """The union of what stops mail to the address, with its history. Raises Refused: 404 where there is nothing."""
        return address_shown(self._of_address(caller, address, selection))

    async def remove(self, caller: Caller, address: str, selection: Selection = EVERYTHING) -> Shown:
        """The event first: a repeat after a failure finds what is still there, and publishes the same id."""
        found = self._of_address(caller, address, selection)
        for suppression in found:
            await self._publish(caller, SuppressionRemoved, suppression)
            await self.suppressions.remove(
                suppression_key(caller.project_id, suppression.recipient, suppression.origin, suppression.scope)
            )
        return {"object": "suppression", "recipient": found[0].recipient, "deleted": True}

    def _as_asked(self, caller: Caller, key: str, new: NewSuppression) -> Suppression:
        present = self.suppressions.get(caller.project_id, key)
        if present is not None:
            return present.model_copy(update={"reason": new.reason})
        now_ms = self.clock.now_ms()
        return Suppression(
            id=new_id("sup", now_ms),
            project_id=caller.project_id,
            scope=new.scope,
            recipient=new.recipient,
            reason=new.reason,
            origin=new.origin,
            source_event_id=None,
            created_at=to_timestamp(now_ms),
        )

    def _of_address(self, caller: Caller, address: str, selection: Selection) -> list[Suppression]:
        """Raises Refused: 404 where there is none."""
        recipient = listed_form(address)
        listed = [] if recipient is None else self.suppressions.of_address(caller.project_id, recipient)
        found = [suppression for suppression in listed if selection.takes(suppression)]
        if not found:
            raise Refused("not_found", "This address is not on the suppression list.")
        return found

    async def _publish(self, caller: Caller, kind: type[SuppressionChange], suppression: Suppression) -> None:
        change = change_of(kind, suppression, by=caller.key_id)
        await self.events.publish(
            caller.project_id, change_id(kind, suppression), suppression.id, change, self.clock.now_ms()
        )


def change_of(kind: type[SuppressionChange], suppression: Suppression, *, by: str) -> SuppressionChange:
    return kind(
        id=suppression.id,
        recipient=suppression.recipient,
        reason=suppression.reason,
        origin=suppression.origin,
        source_event_id=suppression.source_event_id,
        by=by,
        scope=suppression.scope,
    )


def change_id(kind: type[SuppressionChange], suppression: Suppression) -> str:
    """The time is part of it: an id that is a function of its key comes back when the address is listed anew."""
    return derived_id("evt", suppression.id, kind.TYPE, suppression.reason, suppression.created_at)
