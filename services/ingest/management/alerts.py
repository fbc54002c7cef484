"""Rules of alerts (R34): made, changed and removed here; looked at by analytics, which says how each stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from schemas.alerts import AlertRule, AlertState
from schemas.events import AlertRuleChanged
from services.ingest.domain.access import Caller
from services.ingest.domain.alerts import MAX_RULES, NEW, alert_shown, read_alert, rule_shown, settings_of
from services.ingest.domain.pages import PageRequest
from services.ingest.management.versions import Kept, Shown
from services.ingest.ports import AccountEvents, Versions


def kept_alerts(clock: Clock, rules: Versions[AlertRule], events: AccountEvents) -> Kept[AlertRule]:
    return Kept(clock, rules, events, AlertRule, AlertRuleChanged, "alert", "alr", rule_shown, most=MAX_RULES)


@dataclass(frozen=True, slots=True)
class ManageAlerts:
    kept: Kept[AlertRule]
    states: Mapping[str, AlertState]  # by rule, as analytics said last

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """Raises Refused, LogUnavailable."""
        return self._standing(await self.kept.create(caller, read_alert(body, NEW).content()))

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.kept.page(caller, page)
        return [self._standing(rule) for rule in found], cursor

    def show(self, caller: Caller, rule_id: str) -> Shown:
        return self._standing(self.kept.show(caller, rule_id))

    async def change(self, caller: Caller, rule_id: str, body: Mapping[str, Any]) -> Shown:
        """What is not named stays. Raises Refused, LogUnavailable."""
        changed = await self.kept.change(caller, rule_id, lambda rule: read_alert(body, settings_of(rule)).content())
        return self._standing(changed)

    async def delete(self, caller: Caller, rule_id: str) -> Shown:
        return await self.kept.delete(caller, rule_id)

    async def undo(self, caller: Caller, rule_id: str) -> Shown:
        back = await self.kept.undo(caller, rule_id, lambda _: None)
        return back if back.get("deleted") else self._standing(back)

    def _standing(self, rule: Shown) -> Shown:
        return alert_shown(rule, self.states.get(rule["id"]))
