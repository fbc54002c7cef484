"""From a valid body to a draft: what is decided of a mail once, from the tables as they are now (R1, R4, R8).

One mail and each mail of a batch go through here. It must never write anything: what it decides counts once it is in
the log.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from chassis.clock import Clock
from chassis.ids import MessageIds
from schemas.mail import LANE_OF, Channel, Environment, Lane
from services.ingest.domain.acceptance import Accepted, Pinned, Placed
from services.ingest.domain.access import Caller, may_send_from
from services.ingest.domain.addresses import Address, InvalidAddress, parse_address
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.submission import Submission, check_batch_fits
from services.ingest.domain.templates import filled, parts_of, sendable
from services.ingest.domain.times import check_times
from services.ingest.domain.unsubscribe import scope_of
from services.ingest.ports import Render, Senders, Submissions, Templates

RETRY_AFTER_SECONDS = 2
LONG_WORK_OCTETS = 256 * 1024  # what goes through more than that takes milliseconds, for which all others would wait
# Of one batch in one partition: what holds the loop for some 10 ms.
MESSAGES_IN_A_PLACE = 125

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """What all mails of a request have in common."""

    caller: Caller
    submission_id: str
    now_ms: int
    channel: Channel
    request_id: str | None


class Drafting:
    """Decides; raises Refused for what can not be sent."""

    def __init__(
        self,
        clock: Clock,
        ids: MessageIds,
        senders: Senders,
        submissions: Submissions,
        templates: Templates,
        render: Render,
    ) -> None:
        self.clock = clock
        self.submissions = submissions
        self._ids = ids
        self._senders = senders
        self._templates = templates
        self._render = render

    async def new(
        self, origin: Origin, submission: Submission, place_of: Callable[[Submission], Placed]
    ) -> tuple[Submission, Accepted]:
        """Fill in the template that is published now, check who sends and when, give out ids. Raises Refused."""
        caller = origin.caller
        pinned = self._pin(caller, submission)
        submission = await self.filled(submission, pinned)
        if len(submission.recipients) > 1:
            check_batch_fits(submission, self.submissions.max_bytes(LANE_OF[submission.priority]))
        from_ = self._sender(caller, submission)
        check_times(submission.times, origin.now_ms)
        environment: Environment = "live" if caller.environment == "live" else "test"
        return submission, Accepted(
            self._message_ids(origin, submission, place_of(submission)),
            origin.submission_id,
            origin.now_ms,
            from_.header,
            environment,
            caller.key_id,
            self._unsubscribe_scope(caller, submission),
            pinned,
            origin.channel,
            origin.request_id,
        )

    async def filled(self, submission: Submission, pinned: Pinned | None) -> Submission:
        """The submission with what its template makes of its data. Raises Refused (422)."""
        if submission.template is None or pinned is None:
            return submission
        version = self._templates.version(pinned.template_id, pinned.version)
        if version is None:
            raise Refused("unavailable", "The template is not known here yet.", retry_after=RETRY_AFTER_SECONDS)
        parts = parts_of(version, without_subject=bool(submission.subject))
        return filled(submission, version, await self._render.render(parts, submission.template.data))

    def _message_ids(self, origin: Origin, submission: Submission, place: Placed) -> tuple[str, ...]:
        return tuple(
            self._ids.new(
                project_id=origin.caller.project_id,
                now_ms=origin.now_ms,
                lane=place.lane,
                partition=place.partition,
                scheduled=submission.times.waits(origin.now_ms),
            ).text
            for _ in submission.recipients
        )

    def _pin(self, caller: Caller, submission: Submission) -> Pinned | None:
        """The version that is published now."""
        if submission.template is None:
            return None
        template, version = sendable(self._templates.find(caller.project_id, submission.template.template))
        return Pinned(template.id, version)

    def _unsubscribe_scope(self, caller: Caller, submission: Submission) -> str | None:
        project = self._senders.project(caller.project_id)
        return None if project is None else scope_of(submission.tags, submission.headers, project.unsubscribe_tags)

    def _sender(self, caller: Caller, submission: Submission) -> Address:
        """Who the mail is from: the domain must be the project's (R4)."""
        from_ = submission.from_ or self._default_from(caller)
        if not self._senders.owns_domain(caller.project_id, from_.domain):
            message = f"The domain {from_.domain} is not a verified domain of this project."
            raise invalid([Fault("from", "sender_not_allowed", message)])
        if not may_send_from(caller, from_.domain):
            message = f"This key may not send from {from_.domain}."
            raise invalid([Fault("from", "sender_not_allowed", message)])
        return from_

    def _default_from(self, caller: Caller) -> Address:
        project = self._senders.project(caller.project_id)
        try:
            return parse_address((project and project.default_from) or "")
        except InvalidAddress as error:
            message = "Give a sender: the project has no (valid) default."
            raise invalid([Fault("from", "required", message)]) from error


class Placing:
    """Gives the mails of a batch their places: one per lane, and the next one where that is full."""

    def __init__(self, submissions: Submissions) -> None:
        self._submissions = submissions
        self._open: dict[Lane, tuple[Placed, int, int]] = {}  # with what octets and messages it has room for

    def __call__(self, submission: Submission) -> Placed:
        lane, count = LANE_OF[submission.priority], len(submission.recipients)
        octets = count * submission.room_octets()
        place, octets_left, messages_left = self._open.get(lane) or self._next(lane)
        if octets > octets_left or count > messages_left:
            place, octets_left, messages_left = self._next(lane)
        self._open[lane] = (place, octets_left - octets, messages_left - count)
        return place

    def _next(self, lane: Lane) -> tuple[Placed, int, int]:
        return self._submissions.place(lane), self._submissions.max_bytes(lane), MESSAGES_IN_A_PLACE


async def aside(octets: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work`, off the loop where it goes through much."""
    if octets <= LONG_WORK_OCTETS:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
