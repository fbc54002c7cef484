"""Policies (R21, R22): how long, how safely and how fast mail goes; made, changed, removed and undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from schemas.events import PolicyChanged
from schemas.routing import Policy
from services.ingest.domain.access import Caller
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.policies import NEW, policy_shown, read_policy, settings_of
from services.ingest.domain.versions import owner_of
from services.ingest.management.versions import Kept, Shown
from services.ingest.ports import AccountEvents, Versions


def kept_policies(clock: Clock, policies: Versions[Policy], events: AccountEvents) -> Kept[Policy]:
    return Kept(clock, policies, events, Policy, PolicyChanged, "policy", "pol", policy_shown)


@dataclass(frozen=True, slots=True)
class ManagePolicies:
    kept: Kept[Policy]

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """Raises Refused, LogUnavailable."""
        return await self.kept.create(caller, read_policy(body, NEW, owner_of(caller)).content())

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        return self.kept.page(caller, page)

    def show(self, caller: Caller, policy_id: str) -> Shown:
        return self.kept.show(caller, policy_id)

    async def change(self, caller: Caller, policy_id: str, body: Mapping[str, Any]) -> Shown:
        """What is not named stays. Raises Refused, LogUnavailable."""

        def content(policy: Policy) -> dict[str, Any]:
            return read_policy(body, settings_of(policy), policy.project_id).content()

        return await self.kept.change(caller, policy_id, content)

    async def delete(self, caller: Caller, policy_id: str) -> Shown:
        return await self.kept.delete(caller, policy_id)

    async def undo(self, caller: Caller, policy_id: str) -> Shown:
        return await self.kept.undo(caller, policy_id, lambda _: None)
