"""Pools (R20): which senders are there, and how their addresses fare at each provider. Deployed, so only shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from schemas.topics import POOLS
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pools import pool_shown
from services.ingest.ports import Observed

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShowPools:
    clock: Clock
    observed: Observed

    def all(self, caller: Caller) -> list[Shown]:
        return self._shown(caller, sorted(POOLS))

    def show(self, caller: Caller, pool: str) -> Shown:
        if pool not in POOLS:
            raise Refused("not_found", "There is no such pool.")
        return self._shown(caller, [pool])[0]

    def _shown(self, caller: Caller, pools: Sequence[str]) -> list[Shown]:
        senders, health = list(self.observed.senders()), list(self.observed.health())
        whole, now_ms = caller.environment == "admin", self.clock.now_ms()
        return [pool_shown(pool, senders, health, now_ms, whole=whole) for pool in pools]
