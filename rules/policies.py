"""What the policies say of one mail: retry schedule, greatest age, TLS (R21, R22, R28).

Pure. Of those that fit, the most specific one that says something of a thing decides it; the older of two equals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rules.routing import Facts, covers, fits
from schemas.mail import Tls
from schemas.routing import Policy, PolicyUse, RouteMatch, ScheduleFrom, Term


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one owner's policies. None: nothing is said."""

    retry_schedule_ms: tuple[int, ...] | None = None
    max_age_ms: int | None = None
    tls: Tls | None = None
    by: tuple[PolicyUse, ...] = ()  # who said it


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Settled:
    """What counts in the end. A schedule of None is the installation's setting."""

    retry_schedule_ms: tuple[int, ...] | None = None
    schedule_from: ScheduleFrom = "installation"
    max_age_ms: int | None = None
    tls: Tls | None = None
    by: tuple[PolicyUse, ...] = ()

    def source_of(self, term: Term) -> PolicyUse | None:
        return next((use for use in self.by if use.term == term), None)


UNSETTLED = Settled()


def settle(own: Terms, of_project: Sequence[int] | None, everybodys: Terms) -> Settled:
    """The project's policies before its own schedule, that before the installation's policies."""
    project = NO_TERMS if of_project is None else Terms(tuple(of_project))
    schedule = next((said for said in (own, project, everybodys) if said.retry_schedule_ms is not None), NO_TERMS)
    age = own if own.max_age_ms is not None else everybodys
    tls = own if own.tls is not None else everybodys
    source: ScheduleFrom = "project" if schedule is project else "policy"
    counting: list[tuple[Term, Terms]] = [("retry_schedule", schedule), ("max_age", age), ("tls", tls)]
    return Settled(
        schedule.retry_schedule_ms,
        "installation" if schedule.retry_schedule_ms is None else source,
        age.max_age_ms,
        tls.tls,
        tuple(use for term, said in counting for use in said.by if use.term == term),
    )


def terms(policies: Sequence[Policy], facts: Facts) -> Terms:
    """By the policies of one owner: a project, or the installation."""
    fitting = sorted((policy for policy in policies if _fits(policy, facts)), key=lambda p: _rank(p, facts))
    schedule = next((p for p in fitting if p.retry_schedule_ms is not None), None)
    age = next((p for p in fitting if p.max_age_ms is not None), None)
    tls = next((p for p in fitting if p.tls is not None), None)
    said: list[tuple[Term, Policy | None]] = [("retry_schedule", schedule), ("max_age", age), ("tls", tls)]
    return Terms(
        None if schedule is None or schedule.retry_schedule_ms is None else tuple(schedule.retry_schedule_ms),
        None if age is None else age.max_age_ms,
        None if tls is None else tls.tls,
        tuple(PolicyUse(term=term, policy_id=p.id, version=p.version) for term, p in said if p is not None),
    )


def _fits(policy: Policy, facts: Facts) -> bool:
    match = RouteMatch.model_construct(
        recipient_domains=policy.recipient_domains,
        provider_groups=policy.provider_groups,
        tags=policy.tags,
        from_domains=[],
        priorities=[],
    )
    return fits(match, facts)


def _rank(policy: Policy, facts: Facts) -> tuple[int, bool, bool, str, str]:
    """Smaller is more specific: by recipient domain (a whole name before `*.`, a longer one before a shorter), by
    provider, by tag.
    """
    named = [
        len(name) + 1000 * (not name.startswith("*."))
        for name in policy.recipient_domains
        if covers(name, facts.destination)
    ]
    return -max(named, default=0), not policy.provider_groups, not policy.tags, policy.created_at, policy.id
