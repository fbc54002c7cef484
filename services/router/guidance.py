"""What the tables say about the mail of one batch: where it would go, whether it may, and by which terms it is tried again.

Asked once for each message that starts or has failed; where there are no rules, that costs next to nothing.
"""

from dataclasses import dataclass, replace

from rules.routing import Chosen, Facts
from schemas.inputs import Submit
from schemas.mail import WaitReason
from schemas.routing import PolicyUse, ScheduleFrom
from schemas.states import MessageState
from services.router.domain.directions import Directions, from_domain
from services.router.domain.ladder import Ladder
from services.router.ports import Ladders


@dataclass(frozen=True, slots=True)
class Guide:
    """The part of a `services.router.domain.decision.Context` that comes from these tables."""

    route: Chosen
    ladder: Ladder
    stopped: WaitReason | None = None
    lapsed: bool = False
    max_age_ms: int | None = None
    schedule_from: ScheduleFrom = "installation"
    policies: tuple[PolicyUse, ...] = ()  # that decided the schedule and the age


class Guidance:
    """`ladder` is of projects and mails that have none of their own."""

    def __init__(self, directions: Directions, ladders: Ladders, ladder: Ladder, now_ms: int) -> None:
        self._directions = directions
        self._ladders = ladders
        self._now_ms = now_ms
        paths = directions.paths
        default = Chosen(None, None, paths.default, paths.pool_of(paths.default) or paths.pool, None)
        self.unasked = Guide(default, ladder)
        waits = not paths.takes(paths.default, "")
        self._usual = replace(
            self.unasked,
            route=replace(default, waits_for=(paths.default,) if waits else ()),
            stopped="path_paused" if waits else None,
        )

    def starting(self, known: Submit | MessageState, project_id: str, provider_group: str) -> Guide:
        """For an attempt that would start now."""
        tables = self._directions
        if known.environment == "test":
            return self._sandbox(known, project_id, provider_group)
        if tables.are_plain:
            return replace(self._usual, lapsed=True) if self._has_lapsed(known, project_id) else self._usual
        facts = facts_of(known, project_id, provider_group)
        route = tables.route(facts, self._now_ms)
        return replace(
            self.unasked,
            route=route,
            stopped=tables.stopped(project_id, known.destination, provider_group, route),
            lapsed=self._has_lapsed(known, project_id),
        )

    def again(self, state: MessageState, project_id: str, provider_group: str) -> Guide:
        """For an attempt that is out already, and is handed out once more: it keeps its path, and is stopped by nothing."""
        route, paths = self.starting(state, project_id, provider_group).route, self._directions.paths
        if state.path is None:
            return replace(self.unasked, route=replace(route, waits_for=()))
        pool = paths.pool_of(state.path) or paths.pool
        return replace(self.unasked, route=Chosen(state.route_id, state.route_version, state.path, pool, route.tls))

    def ending(self, state: MessageState, project_id: str, provider_group: str) -> Guide:
        """For an attempt that may have to be made again."""
        own, tables = self._ladders.of(project_id), self._directions
        if own is None and not tables.policies:
            return self.unasked
        settled = tables.settled(facts_of(state, project_id, provider_group), own)
        waits = settled.retry_schedule_ms
        return replace(
            self.unasked,
            ladder=self.unasked.ladder if waits is None else Ladder(waits),
            max_age_ms=settled.max_age_ms,
            schedule_from=settled.schedule_from,
            policies=tuple(use for use in settled.by if use.term != "tls"),
        )

    def _has_lapsed(self, known: Submit | MessageState, project_id: str) -> bool:
        """Whether the sender's domain is known, and is not verified any more (R26)."""
        lapsed = self._directions.lapsed
        return bool(lapsed) and (project_id, from_domain(_from(known))) in lapsed

    def _sandbox(self, known: Submit | MessageState, project_id: str, provider_group: str) -> Guide:
        """Mail of a test key goes nowhere, so no rule is about it; it stands in the same queues."""
        route = replace(self.unasked.route, path="sandbox", pool=self._directions.paths.pool)
        stopped = self._directions.stopped(project_id, known.destination, provider_group, route)
        return replace(self.unasked, route=route, stopped=stopped)


def facts_of(known: Submit | MessageState, project_id: str, provider_group: str) -> Facts:
    """What rules and policies look at. A greylist is to see the same address again, so the path is kept as well."""
    attempt, keep = 1, None
    if isinstance(known, MessageState):
        attempt = known.attempt
        keep = known.path if known.source_address is not None or known.reason == "greylisted" else None
    return Facts(
        message_id=known.message_id,
        attempt=attempt,
        project_id=project_id,
        destination=known.destination,
        provider_group=provider_group,
        from_domain=from_domain(_from(known)),
        tags=known.tags,
        priority=known.priority,
        keep=keep,
    )


def _from(known: Submit | MessageState) -> str:
    return known.from_ if isinstance(known, MessageState) else known.content.from_
