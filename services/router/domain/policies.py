"""What the policies say of one mail: retry schedule, greatest age, TLS (R21, R22, R28).

Pure. Of those that fit, the most specific one that says something of a thing decides it; the older of two equals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.mail import Tls
from schemas.routing import Policy, RouteMatch
from services.router.domain.ladder import Ladder
from services.router.domain.routing import Facts, covers, fits


@dataclass(frozen=True, slots=True)
class Terms:
    """None: nothing is said."""

    ladder: Ladder | None = None
    max_age_ms: int | None = None
    tls: Tls | None = None


NO_TERMS = Terms()


def terms(policies: Sequence[Policy], facts: Facts) -> Terms:
    """By the policies of one owner: a project, or the installation."""
    fitting = sorted((policy for policy in policies if _fits(policy, facts)), key=lambda p: _rank(p, facts))
    schedule = next((p.retry_schedule_ms for p in fitting if p.retry_schedule_ms is not None), None)
    return Terms(
        None if schedule is None else Ladder(tuple(schedule)),
        next((p.max_age_ms for p in fitting if p.max_age_ms is not None), None),
        next((p.tls for p in fitting if p.tls is not None), None),
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
