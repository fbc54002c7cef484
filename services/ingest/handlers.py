"""What becomes of a mail: the order of work that makes 202 mean "durable, once" (R1, R3, R4, R13).

It must never wait for another service, and never decide from a table what a claim has decided already.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from chassis.clock import Clock
from chassis.ids import MessageIds, new_id
from chassis.log import LogUnavailable
from schemas.mail import LANE_OF, Blob, Environment
from services.ingest import metrics
from services.ingest.domain.acceptance import (
    Accepted,
    Pinned,
    accepted_by,
    answer_of,
    claim_of,
    place_of,
    submits_of,
)
from services.ingest.domain.access import Caller, may_send_from
from services.ingest.domain.addresses import Address, InvalidAddress, parse_address
from services.ingest.domain.faults import UNKNOWN_OUTCOME_HINT, Fault, Refused, invalid
from services.ingest.domain.idempotency import KeyedBody, fingerprint, read_key
from services.ingest.domain.parcels import parcel_of
from services.ingest.domain.submission import Submission, check_batch_fits, parse_object, read_submission
from services.ingest.domain.templates import filled, parts_of, sendable
from services.ingest.domain.times import check_times
from services.ingest.domain.unsubscribe import UnsubscribeLinks, scope_of
from services.ingest.ports import (
    Claimed,
    Contents,
    ContentsAway,
    IdempotencyLog,
    Render,
    Senders,
    Submissions,
    Templates,
)

TOTAL_SECONDS = 2.5  # for the whole request: a client that waits longer has its own time-out by then
HELP_AFTER_SECONDS = 0.5  # a winner takes some 10 ms; one that has not finished by then is slow, frozen or dead
RETRY_AFTER_SECONDS = 2
PATH = "/v1/messages"
LONG_WORK_OCTETS = 256 * 1024  # what goes through more than that takes milliseconds, for which all others would wait

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SendRequest:
    """`POST /messages` as it came in."""

    caller: Caller
    raw: bytes | bytearray  # a bytearray is emptied once it is parsed: of a large one there is no room for two
    key_headers: Sequence[str]  # every Idempotency-Key header


@dataclass(frozen=True, slots=True)
class Answer:
    """The 202: the same bytes for the first request and for every replay."""

    body: bytes
    replayed: bool


@dataclass(frozen=True, slots=True)
class Deadline:
    """The request's end, on both clocks."""

    monotonic: float
    broker_ms: int


class AcceptMessage:
    """Handles one `POST /messages` after authentication and rate limit."""

    def __init__(
        self,
        clock: Clock,
        ids: MessageIds,
        senders: Senders,
        submissions: Submissions,
        idempotency: IdempotencyLog,
        links: UnsubscribeLinks,
        templates: Templates,
        render: Render,
        contents: Contents,
    ) -> None:
        self._clock = clock
        self._links = links
        self._ids = ids
        self._senders = senders
        self._submissions = submissions
        self._idempotency = idempotency
        self._templates = templates
        self._render = render
        self._contents = contents

    async def __call__(self, request: SendRequest) -> Answer:
        """1 parse, 2 fingerprint, 3 look the key up, 4 validate and fill in the template, 5 sender, 6 store what is
        large, 7 claim, 8 submit. Raises Refused.
        """
        deadline = self._deadline()
        keyed = await _aside(len(request.raw), _parsed, request)  # 1
        try:
            if keyed.key is None:
                return await self._accept(request.caller, keyed, deadline)
            return await self._accept_once(request.caller, keyed, deadline)
        except LogUnavailable as error:
            raise _unknown() from error

    async def _accept(self, caller: Caller, keyed: KeyedBody, deadline: Deadline) -> Answer:
        submission, accepted = await self._validate(caller, keyed)  # 4, 5
        blob, deadline = await self._keep(submission, accepted, deadline)  # 6
        await self._submit(caller.project_id, submission, accepted, blob, deadline)  # 8
        metrics.accepted_messages.inc(len(accepted.message_ids))
        return Answer(answer_of(submission, accepted), replayed=False)

    async def _accept_once(self, caller: Caller, keyed: KeyedBody, deadline: Deadline) -> Answer:
        if not self._idempotency.ready():
            message = "Idempotency keys can not be looked up at this moment."
            raise Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS)
        key = f"{caller.project_id}:{keyed.key}"
        asked = await _aside(keyed.octets, fingerprint, "POST", PATH, keyed.body)  # 2
        holder = self._idempotency.holder(key)  # 3
        if holder is not None:
            return await self._replay(caller, key, keyed, holder, asked, deadline)
        submission, accepted = await self._validate(caller, keyed)  # 4, 5
        blob, deadline = await self._keep(submission, accepted, deadline)  # 6
        answer = answer_of(submission, accepted)
        claim = claim_of(
            accepted,
            claim_id=new_id("clm", accepted.created_at_ms),
            fingerprint=asked,
            answer=answer,
            valid_until_ms=deadline.broker_ms,
        )
        holder = await self._idempotency.claim(key, caller.project_id, claim, within=self._left(deadline))  # 7
        if holder.claim.claim_id != claim.claim_id:
            return await self._replay(caller, key, keyed, holder, asked, deadline)
        await self._submit(caller.project_id, submission, accepted, blob, deadline)  # 8
        self._idempotency.announce_done(key, caller.project_id, claim.claim_id)
        metrics.accepted_messages.inc(len(accepted.message_ids))
        metrics.idempotent_requests.labels("first").inc()
        return Answer(answer, replayed=False)

    async def _replay(
        self, caller: Caller, key: str, keyed: KeyedBody, holder: Claimed, asked: str, deadline: Deadline
    ) -> Answer:
        """The holder's answer, once its messages are in the log; where it does not say so in time, help it."""
        if holder.claim.fingerprint != asked:
            metrics.idempotent_requests.labels("reused").inc()
            raise Refused("idempotency_key_reused", "This idempotency key belongs to a request with another body.")
        outcome = "replayed"
        if not holder.done and not await self._idempotency.wait_done(key, within=self._patience(holder, deadline)):
            await self._help(caller, keyed, holder, deadline)
            self._idempotency.announce_done(key, caller.project_id, holder.claim.claim_id)
            outcome = "helped"
        metrics.idempotent_requests.labels(outcome).inc()
        return Answer(holder.claim.answer.encode(), replayed=True)

    async def _help(self, caller: Caller, keyed: KeyedBody, holder: Claimed, deadline: Deadline) -> None:
        """Write what the holder would have: its claim (template's version included) and the identical body, no table as
        it is now. The router drops the second.
        """
        accepted = accepted_by(holder.claim)
        try:
            submission = await _aside(keyed.octets, read_submission, keyed.body)
            submission = await self._filled(submission, accepted.template)
            blob, deadline = await self._keep(submission, accepted, deadline)
        except Refused as refused:  # the holder ran a version of us with other rules, or the storage is away
            raise _unknown() from refused
        await self._submit(caller.project_id, submission, accepted, blob, deadline)

    async def _validate(self, caller: Caller, keyed: KeyedBody) -> tuple[Submission, Accepted]:
        submission = await _aside(keyed.octets, read_submission, keyed.body, keyed.faults)
        pinned = self._pin(caller, submission)
        submission = await self._filled(submission, pinned)
        lane = LANE_OF[submission.priority]
        if len(submission.recipients) > 1:
            check_batch_fits(submission, self._submissions.max_bytes(lane))
        from_ = self._sender(caller, submission)
        now_ms = self._clock.now_ms()
        check_times(submission.times, now_ms)
        scheduled = submission.times.waits(now_ms)
        place = self._submissions.place(lane)
        message_ids = tuple(
            self._ids.new(
                project_id=caller.project_id,
                now_ms=now_ms,
                lane=lane,
                partition=place.partition,
                scheduled=scheduled,
            ).text
            for _ in submission.recipients
        )
        environment: Environment = "live" if caller.environment == "live" else "test"
        return submission, Accepted(
            message_ids,
            new_id("sub", now_ms),
            now_ms,
            from_.header,
            environment,
            caller.key_id,
            self._unsubscribe_scope(caller, submission),
            pinned,
        )

    def _pin(self, caller: Caller, submission: Submission) -> Pinned | None:
        """The version that is published now."""
        if submission.template is None:
            return None
        template, version = sendable(self._templates.find(caller.project_id, submission.template.template))
        return Pinned(template.id, version)

    async def _filled(self, submission: Submission, pinned: Pinned | None) -> Submission:
        """The submission with what its template makes of its data. Raises Refused (422)."""
        if submission.template is None or pinned is None:
            return submission
        version = self._templates.version(pinned.template_id, pinned.version)
        if version is None:
            raise Refused("unavailable", "The template is not known here yet.", retry_after=RETRY_AFTER_SECONDS)
        parts = parts_of(version, without_subject=bool(submission.subject))
        return filled(submission, version, await self._render.render(parts, submission.template.data))

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

    async def _keep(
        self, submission: Submission, accepted: Accepted, deadline: Deadline
    ) -> tuple[Blob | None, Deadline]:
        """Store what is too large for the log, before anything names it; the log's time begins anew after that.

        Raises Refused (503): nothing is claimed yet. What is stored and then not named is swept with its day.
        """
        parcel = await _aside(submission.size, parcel_of, submission, accepted)
        if parcel is None:
            return None, deadline
        try:
            await self._contents.keep(parcel)
        except ContentsAway as error:
            message = "Large content can not be stored at this moment; nothing was accepted."
            raise Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS) from error
        return parcel.blob, self._deadline()

    async def _submit(
        self, project_id: str, submission: Submission, accepted: Accepted, blob: Blob | None, deadline: Deadline
    ) -> None:
        submits = submits_of(submission, accepted, valid_until_ms=deadline.broker_ms, blob=blob)
        if accepted.unsubscribe_scope is not None:
            submits = self._links.with_links(project_id, submits, accepted.unsubscribe_scope)
        place = place_of(accepted.message_ids)
        await self._submissions.submit(project_id, submits, place, within=self._left(deadline))

    def _deadline(self) -> Deadline:
        ends = round(self._submissions.broker_now_ms() + TOTAL_SECONDS * 1000)
        return Deadline(self._clock.monotonic() + TOTAL_SECONDS, ends)

    def _left(self, deadline: Deadline) -> float:
        """Seconds to the deadline. Raises LogUnavailable where it has passed."""
        left = deadline.monotonic - self._clock.monotonic()
        if left <= 0:
            raise LogUnavailable("the request's time is up")
        return left

    def _patience(self, holder: Claimed, deadline: Deadline) -> float:
        """How long to wait for the holder before helping it: its claim may be old already."""
        age = (self._submissions.broker_now_ms() - holder.claimed_at_ms) / 1000
        return min(max(0.0, HELP_AFTER_SECONDS - age), self._left(deadline))


def _parsed(request: SendRequest) -> KeyedBody:
    octets, body = len(request.raw), parse_object(request.raw)
    if isinstance(request.raw, bytearray):
        request.raw.clear()
    return replace(read_key(request.key_headers, body), octets=octets)


async def _aside(octets: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work`, off the loop where it goes through much."""
    if octets <= LONG_WORK_OCTETS:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _unknown() -> Refused:
    return Refused(
        "unavailable",
        "The mail could not be confirmed in time.",
        retry_after=RETRY_AFTER_SECONDS,
        hint=UNKNOWN_OUTCOME_HINT,
    )
