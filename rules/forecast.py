"""What would become of such a mail (R20): which rule is the first that fits, and how its mail is shared out among the paths.

Pure, and told by `rules.routing.choose` itself, which is asked as the router asks it, for many mails at once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rules.routing import Chosen, Criterion, Facts, Fares, Hindrance, Paths, choose, misfit
from schemas.routing import Route

# Mails of which a share is counted: it is right to two or three in a hundred, in 10 ms.
_MAILS = 1000


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule, in the order of trying. `misfit` None: it fits, and counts if it is the first that does."""

    route: Route
    misfit: Criterion | None


@dataclass(frozen=True, slots=True)
class Prospect:
    """One path. `weight` None: a fallback. `share` of the mails, from 0 to 1."""

    path: str
    weight: int | None
    hindrance: Hindrance | None
    fares: Fares
    share: float


@dataclass(frozen=True, slots=True)
class Forecast:
    considered: tuple[Considered, ...]
    route: Route | None  # the first that fits
    prospects: tuple[Prospect, ...]
    chosen: Chosen  # of a first attempt; what it waits for is the same for every mail

    @property
    def first(self) -> str | None:
        """Where most of it goes; None where it waits."""
        return None if self.chosen.waits_for else max(self.prospects, key=lambda prospect: prospect.share).path


def forecast(facts: Facts, routes: Sequence[Route], paths: Paths, now_ms: int) -> Forecast:
    """For mail of which `facts` are true, whatever its id."""
    considered = tuple(Considered(route, misfit(route.match, facts)) for route in routes)
    route = next((one.route for one in considered if one.misfit is None), None)
    rules = [] if route is None else [route]
    drawn = [choose(replace(facts, message_id=f"msg_{number}"), rules, paths, now_ms) for number in range(_MAILS)]
    went = Counter(chosen.path for chosen in drawn if not chosen.waits_for)
    weights = {paths.default: 1} if route is None else {weighted.path: weighted.weight for weighted in route.paths}
    names = dict.fromkeys([*weights, *([] if route is None else route.fallback)])
    prospects = tuple(
        Prospect(
            path=path,
            weight=weights.get(path),
            hindrance=paths.hindrance(path, facts.project_id),
            fares=paths.fares(path, facts.provider_group, now_ms),
            share=went[path] / _MAILS,
        )
        for path in names
    )
    return Forecast(considered, route, prospects, drawn[0])
