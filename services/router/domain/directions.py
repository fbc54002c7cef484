"""What the tables say at one moment, and what follows from it for one mail: route, terms, what stops it (R20, R21, R26).

Pure. The mappings are read-only views; nobody here keeps them.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import lru_cache

from rules.pauses import Pauses
from rules.policies import NO_TERMS, UNSETTLED, Settled, settle, terms
from rules.routing import Chosen, Facts, Paths, choose
from schemas.mail import WaitReason
from schemas.routing import Policy, QueueFlush, Route
from services.router.domain.ladder import Ladder
from services.router.domain.pauses import Bar

_INSTALLATION = ""


@dataclass(frozen=True, slots=True)
class Directions:
    """By project id; "" is the installation."""

    paths: Paths
    routes: Mapping[str, Sequence[Route]] = field(default_factory=dict)  # each as they are tried
    policies: Mapping[str, Sequence[Policy]] = field(default_factory=dict)
    flushes: Sequence[QueueFlush] = ()
    lapsed: AbstractSet[tuple[str, str]] = field(
        default_factory=frozenset
    )  # (project, domain): known, and not verified
    version: int = 0  # rises with each change of routes and upstreams

    @property
    def pauses(self) -> Pauses:
        return self.paths.pauses

    @property
    def are_plain(self) -> bool:
        """Whether there is nothing to look at in a mail: the usual case, which must cost nothing."""
        return not (self.routes or self.policies or self.pauses.standing)

    def route(self, facts: Facts, now_ms: int) -> Chosen:
        """Path and TLS of the next attempt: TLS as the rule says, else by policy."""
        own, everybodys = self.routes.get(facts.project_id, ()), self.routes.get(_INSTALLATION, ())
        chosen = choose(facts, [*own, *everybodys] if own else everybodys, self.paths, now_ms)
        if chosen.tls is not None or not self.policies:
            return chosen
        settled = self.settled(facts)
        return replace(chosen, tls=settled.tls, tls_by=settled.source_of("tls"))

    def settled(self, facts: Facts, of_project: Ladder | None = None) -> Settled:
        """What the policies say, and the project's own schedule."""
        if not self.policies and of_project is None:
            return UNSETTLED
        own, everybodys = self.policies.get(facts.project_id), self.policies.get(_INSTALLATION)
        return settle(
            terms(own, facts) if own else NO_TERMS,
            None if of_project is None else of_project.waits_ms,
            terms(everybodys, facts) if everybodys else NO_TERMS,
        )

    def stopped(self, project_id: str, destination: str, provider_group: str, chosen: Chosen) -> WaitReason | None:
        """Why a mail that would go now may not."""
        if self.pauses.stops(project_id, destination, provider_group) is not None:
            return "destination_paused"
        return "path_paused" if chosen.waits_for else None

    def bar(self, project_id: str, destination: str, provider_group: str, waits_for: Sequence[str]) -> Bar | None:
        """What keeps a mail of a queue from being called, if anything does; its paths are those of its last turn."""
        pause = self.pauses.stops(project_id, destination, provider_group)
        if pause is not None:
            return Bar.of_pause(pause)
        bar = Bar.of_paths(project_id, waits_for)
        return bar if waits_for and self.holds(bar) else None

    def holds(self, bar: Bar) -> bool:
        if bar.kind == "path":
            return not any(self.paths.takes(path, bar.project_id) for path in bar.names)
        return (bar.project_id, bar.kind, bar.names[0]) in self.pauses.standing


@lru_cache(maxsize=1024)
def from_domain(from_: str) -> str:
    """Of "a@b" or "Name <a@b>", as it stands in the header: A-label, lower case."""
    domain = from_.rpartition("@")[2].rstrip("> ").lower()
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain
