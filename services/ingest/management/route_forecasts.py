"""`GET /v1/routes/explain` (R20): what would become of such a mail, from the same tables and by the same rule as in the router.

Nothing is sent, and nothing is asked of the router.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from rules.forecast import forecast
from rules.policies import settle, terms
from rules.routing import in_order
from schemas.routing import Policy, Route, Upstream
from services.ingest.domain.access import Caller
from services.ingest.domain.route_forecasts import (
    facts_of,
    forecast_shown,
    paths_now,
    read_question,
    sandbox_shown,
)
from services.ingest.domain.versions import INSTALLATION, owner_of
from services.ingest.ports import Observed, QueueControls, Versions


@dataclass(frozen=True, slots=True)
class RoutingTables:
    routes: Versions[Route]
    upstreams: Versions[Upstream]
    policies: Versions[Policy]
    controls: QueueControls
    observed: Observed
    schedule_of: Callable[[str], Sequence[int] | None]  # a project's own


@dataclass(frozen=True, slots=True)
class ForecastRoutes:
    """`default_path` and `pool` are the routers' settings of these names."""

    clock: Clock
    tables: RoutingTables
    default_path: str
    pool: str

    def explain(self, caller: Caller, query: Mapping[str, str]) -> dict[str, Any]:
        """Raises Refused (422)."""
        question = read_question(query)
        owner, tables, now_ms = owner_of(caller), self.tables, self.clock.now_ms()
        facts = facts_of(question, owner, tables.observed.group_of(question.destination))
        both = list(dict.fromkeys((owner, INSTALLATION)))  # a project's own first
        settled = settle(
            terms(tables.policies.live(owner), facts),
            tables.schedule_of(owner),
            terms(tables.policies.live(INSTALLATION), facts),
        )
        if caller.environment == "test":
            return sandbox_shown(facts, settled)
        paths = paths_now(
            self.default_path,
            self.pool,
            [upstream for name in both for upstream in tables.upstreams.live(name)],
            list(tables.observed.senders()),
            tables.observed.health(),
            tables.controls.pauses(frozenset(both)),
            now_ms,
        )
        routes = [route for name in both for route in in_order(tables.routes.live(name))]
        stopped = paths.pauses.stops(owner, facts.destination, facts.provider_group) is not None
        return forecast_shown(forecast(facts, routes, paths, now_ms), facts, settled, stopped=stopped)
