"""`GET /v1/routes/explain` and the router, over the same tables (R20): what is foretold is what is done."""

from dataclasses import replace
from typing import Any

from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as some

from chassis.clock import SystemClock
from rules.forecast import forecast
from rules.policies import UNSETTLED
from schemas.routing import PathHealth, QueuePause, Route, SenderAlive, Upstream
from services.ingest.domain.route_forecasts import forecast_shown, paths_now
from services.router.adapters.routing_index import RoutingIndex
from tests.kit import router_tables as table
from tests.kit.router_inputs import PROJECT

PATHS = ["mx:main", "ups_1", "ups_2", "upstream"]
DOMAINS, TAGS = ["example.org", "*.example.org", "example.net"], ["otp", "receipt"]
match = some.fixed_dictionaries(
    {},
    optional={
        "recipient_domains": some.lists(some.sampled_from(DOMAINS), max_size=2),
        "tags": some.lists(some.sampled_from(TAGS), max_size=1),
        "provider_groups": some.lists(some.sampled_from(["google", "yahoo"]), max_size=1),
        "priorities": some.lists(some.sampled_from(["critical", "bulk"]), max_size=1),
    },
)
rule = some.fixed_dictionaries(
    {
        "match": match,
        "paths": some.lists(
            some.tuples(some.sampled_from(PATHS), some.integers(1, 5)), min_size=1, max_size=3, unique_by=lambda p: p[0]
        ),
        "fallback": some.lists(some.sampled_from(PATHS), max_size=1),
        "position": some.integers(1, 3),
        "project_id": some.sampled_from([PROJECT, ""]),
    }
)
mail = some.fixed_dictionaries(
    {
        "destination": some.sampled_from(["example.org", "a.example.org", "example.net"]),
        "provider_group": some.sampled_from(["google", "yahoo", "example.org"]),
        "tags": some.lists(some.sampled_from(TAGS), max_size=2),
        "priority": some.sampled_from(["critical", "normal", "bulk"]),
    }
)
health = some.tuples(
    some.sampled_from(PATHS), some.sampled_from(["google", "yahoo"]), some.integers(0, 40), some.booleans()
)


@settings(max_examples=60)
@drawn(
    some.lists(rule, max_size=4),
    mail,
    some.lists(health, max_size=3, unique_by=lambda h: h[:2]),
    some.lists(some.sampled_from(PATHS), max_size=2, unique=True),
    some.booleans(),
)
def test_what_is_foretold_is_what_the_router_does(
    rules: list[dict[str, Any]], mail: dict[str, Any], fares: list[Any], paused: list[str], alive: bool
) -> None:
    clock = SystemClock()
    now_ms = clock.now_ms()
    routes = [table.route(f"rte_{number}", **fields) for number, fields in enumerate(rules)]
    upstreams = [table.upstream(name) for name in ("ups_1", "ups_2")]
    senders = [table.alive(*PATHS[:2], at_ms=now_ms)] if alive else []
    measured = [
        table.health(
            path,
            group,
            failed=failed,
            deferred=failed,
            taken_at_ms=now_ms,
            closed_until_ms=now_ms + 60_000 if closed else None,
        )
        for path, group, failed, closed in fares
    ]
    pauses = [table.pause("path", name) for name in paused]
    facts = table.facts(**mail)
    paths = paths_now("upstream", "main", upstreams, senders, measured, pauses, now_ms)
    own = [route for route in routes if route.project_id == PROJECT]
    found = forecast(facts, [*_in_order(own), *_in_order([r for r in routes if r not in own])], paths, now_ms)

    directions = _router(clock, routes, upstreams, senders, measured, pauses).now()
    for number in range(40):
        chosen = directions.route(replace(facts, message_id=f"msg_{number}x"), now_ms)
        assert chosen.route_id == (None if found.route is None else found.route.id)
        assert chosen.waits_for == found.chosen.waits_for
        shares = {prospect.path: prospect.share for prospect in found.prospects}
        assert chosen.waits_for or shares[chosen.path] > 0
    said = forecast_shown(found, facts, UNSETTLED, stopped=False)
    assert sum(one["matched"] for one in said["considered"]) == (found.route is not None)
    assert (said["chosen_first"] is None) == (said["waits"] is not None)
    assert all(one["because"] for one in [*said["considered"], *said["paths"]])


def _in_order(routes: list[Route]) -> list[Route]:
    return sorted(routes, key=lambda route: (route.position, route.created_at, route.id))


def _router(
    clock: SystemClock,
    routes: list[Route],
    upstreams: list[Upstream],
    senders: list[SenderAlive],
    measured: list[PathHealth],
    pauses: list[QueuePause],
) -> RoutingIndex:
    """The tables as the router's own index folds them."""
    index = RoutingIndex("upstream", "main", clock)
    for route in routes:
        index.route_changed(route.id, None, route)
    for upstream in upstreams:
        index.upstream_changed(upstream.id, None, upstream)
    told: list[SenderAlive | PathHealth] = [*senders, *measured]
    for number, one in enumerate(told):
        index.health_changed(f"key-{number}", None, one)
    for pause in pauses:
        index.control_changed(table.key_of(pause), None, pause)
    return index
