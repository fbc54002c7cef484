"""What the router would do with such a mail (R20): the question as it is asked, the paths as they fare, the answer as it is shown.

Pure. The decision itself is `rules.forecast`, which asks the router's own function; nothing is decided here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from rules.forecast import Considered, Forecast, Prospect
from rules.health import Tally, is_bad
from rules.pauses import Pauses, place_of
from rules.policies import Settled
from rules.routing import Facts, Paths
from schemas.mail import Priority, Tls
from schemas.routing import PathHealth, QueuePause, SenderAlive, Upstream
from schemas.topics import POOLS
from services.ingest.domain.addresses import InvalidAddress, parse_address
from services.ingest.domain.durations import duration_shown
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names, is_tag
from services.ingest.domain.pools import ALIVE_MS, STALE_MS

FIELDS = frozenset({"recipient", "from", "tag", "tier"})
_BECAUSE = {
    "unknown": "There is no such path.",
    "paused": "Somebody has stopped it.",
    "no_sender": "No sender that lives has it.",
    "closed": "The provider takes nothing from it at the moment.",
    "badly": "Half of its mail to this provider fails or is blocked; one mail in twenty shows whether it is well again.",
}


@dataclass(frozen=True, slots=True)
class Question:
    destination: str
    from_domain: str = ""
    tags: tuple[str, ...] = ()
    priority: Priority = "normal"


def read_question(query: Mapping[str, str]) -> Question:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(query, FIELDS, frozenset())
    tag, tier = query.get("tag"), query.get("tier", "normal")
    if tag is not None and not is_tag(tag):
        faults.append(Fault("tag", "invalid_tag", "A tag is 1 to 64 letters, digits, hyphens or underscores."))
    if tier not in get_args(Priority):
        faults.append(Fault("tier", "invalid_value", f"A tier is one of: {', '.join(get_args(Priority))}."))
    destination = _domain(query, "recipient", faults)
    if "recipient" not in query:
        faults.append(Fault("recipient", "required", "Say whom such a mail is for."))
    from_domain = _domain(query, "from", faults)
    if faults:
        raise invalid(faults)
    return Question(destination, from_domain, () if tag is None else (tag,), tier)  # type: ignore[arg-type]  # checked


def facts_of(question: Question, project_id: str, provider_group: str) -> Facts:
    """Of a first attempt."""
    return Facts(
        message_id="",
        attempt=1,
        project_id=project_id,
        destination=question.destination,
        provider_group=provider_group,
        from_domain=question.from_domain,
        tags=question.tags,
        priority=question.priority,
    )


def paths_now(
    default: str,
    pool: str,
    upstreams: Iterable[Upstream],
    senders: Sequence[SenderAlive],
    health: Iterable[PathHealth],
    pauses: Iterable[QueuePause],
    now_ms: int,
) -> Paths:
    """As senders told it last, by their own clocks: the router goes by its own, and remembers which path was unwell."""
    alive = [sender for sender in senders if now_ms - sender.at_ms <= ALIVE_MS]
    measured: dict[tuple[str, str], list[PathHealth]] = {}
    for row in health:
        if now_ms - row.taken_at_ms <= row.window_ms + STALE_MS:
            measured.setdefault((row.path, row.provider_group), []).append(row)
    closed = {place: min(row.closed_until_ms or 0 for row in rows) for place, rows in measured.items()}
    return Paths(
        default=default,
        pool=pool,
        pools=frozenset(POOLS),
        upstreams={upstream.id: upstream.pool for upstream in upstreams},
        heard=frozenset(sender.pool for sender in senders),
        alive=frozenset((sender.pool, path) for sender in alive for path in sender.paths),
        bad=frozenset(place for place, rows in measured.items() if is_bad(False, Tally.of(rows))),
        closed_until_ms={place: until for place, until in closed.items() if until},
        pauses=Pauses(frozenset(place_of(pause) for pause in pauses)),
    )


def forecast_shown(found: Forecast, facts: Facts, settled: Settled, *, stopped: bool) -> dict[str, Any]:
    route = found.route
    return {
        "object": "route_explanation",
        "destination": facts.destination,
        "provider_group": facts.provider_group,
        "rule": None if route is None else {"id": route.id, "name": route.name, "version": route.version},
        "considered": list(_considered(found)),
        "paths": [_prospect(prospect) for prospect in found.prospects],
        "chosen_first": found.first,
        "waits": _waits(found, stopped=stopped),
        "policy": _policy(settled, found.chosen.tls),
    }


def sandbox_shown(facts: Facts, settled: Settled) -> dict[str, Any]:
    """Mail of a test key goes nowhere, so no rule is about it."""
    path = {"path": "sandbox", "weight": 1, "healthy": True, "share": 1.0, "because": "Mail of test keys stays here."}
    return {
        "object": "route_explanation",
        "destination": facts.destination,
        "provider_group": facts.provider_group,
        "rule": None,
        "considered": [],
        "paths": [path],
        "chosen_first": "sandbox",
        "waits": None,
        "policy": _policy(settled, None),
    }


def _considered(found: Forecast) -> Iterable[dict[str, Any]]:
    decided = False
    for one in found.considered:
        matched = one.misfit is None and not decided
        yield {"id": one.route.id, "name": one.route.name, "matched": matched, "because": _why(one, decided=decided)}
        decided = decided or matched


def _why(one: Considered, *, decided: bool) -> str:
    if decided:
        return "An earlier rule fits."
    return "All that it asks for is met." if one.misfit is None else f"`{one.misfit}` does not fit."


def _prospect(prospect: Prospect) -> dict[str, Any]:
    cause = prospect.hindrance or prospect.fares
    return {
        "path": prospect.path,
        "weight": prospect.weight,
        "healthy": cause == "well",
        "share": round(prospect.share, 2),
        "because": _BECAUSE.get(
            cause, "It fares well." if prospect.weight else "A fallback: for when no path fares well."
        ),
    }


def _waits(found: Forecast, *, stopped: bool) -> dict[str, Any] | None:
    """What such a mail would wait for before it goes anywhere."""
    if stopped:
        return {"reason": "destination_paused", "for": []}
    return {"reason": "path_paused", "for": list(found.chosen.waits_for)} if found.chosen.waits_for else None


def _policy(settled: Settled, tls: Tls | None) -> dict[str, Any]:
    """A retry schedule of null is the routers' own setting; TLS of the rule before that of a policy."""
    waits, age = settled.retry_schedule_ms, settled.max_age_ms
    return {
        "retry_schedule": None if waits is None else [duration_shown(wait) for wait in waits],
        "schedule_from": settled.schedule_from,
        "max_age": None if age is None else duration_shown(age),
        "tls": tls or settled.tls,
        "decided_by": [use.model_dump() for use in settled.by if not (use.term == "tls" and tls is not None)],
    }


def _domain(query: Mapping[str, str], name: str, faults: list[Fault]) -> str:
    """Of an address, or "" where none is given."""
    text = query.get(name)
    if text is None:
        return ""
    try:
        return parse_address(text).domain
    except InvalidAddress as error:
        faults.append(Fault(name, "invalid_address", str(error)))
        return ""
