"""What becomes of a mail: the order of work that makes 202 mean "durable, once" (R1, R3, R4, R13).

It must never wait for another service, and never decide from a table what a claim has decided already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.ids import MessageIds, new_id
from chassis.log import LogUnavailable
from schemas.inputs import Submit
from schemas.mail import Blob
from services.ingest import metrics
from services.ingest.domain.acceptance import Placed, place_of, submits_of
from services.ingest.domain.access import Caller
from services.ingest.domain.batch import AcceptedItem
from services.ingest.domain.faults import UNKNOWN_OUTCOME_HINT, Refused
from services.ingest.domain.idempotency import KeyedBody, fingerprint
from services.ingest.domain.parcels import parcel_of
from services.ingest.domain.unsubscribe import UnsubscribeLinks
from services.ingest.drafting import RETRY_AFTER_SECONDS, Drafting, aside
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
from services.ingest.sendings import PATH, Made, MailBatch, OneMail, Sending

__all__ = ["PATH", "AcceptMessage", "Answer", "SendRequest"]

TOTAL_SECONDS = 2.5  # for the whole request: a client that waits longer has its own time-out by then
HELP_AFTER_SECONDS = 0.5  # a winner takes some 10 ms; one that has not finished by then is slow, frozen or dead


@dataclass(frozen=True, slots=True)
class SendRequest:
    """`POST /messages`, or `/messages/batch`, as it came in."""

    caller: Caller
    raw: bytes | bytearray  # a bytearray is emptied once it is parsed: of a large one there is no room for two
    key_headers: Sequence[str]  # every Idempotency-Key header
    request_id: str | None = None


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


@dataclass(frozen=True, slots=True)
class Kept:
    """A mail that is ready for the log: what is large of it lies in object storage."""

    item: AcceptedItem
    blob: Blob | None


class AcceptMessage:
    """Handles one request to send after authentication and rate limit: a single mail, or a `batch`."""

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
        self._submissions = submissions
        self._idempotency = idempotency
        self._contents = contents
        self.drafting = Drafting(clock, ids, senders, submissions, templates, render)
        self._one, self._many = OneMail(self.drafting), MailBatch(self.drafting)

    async def __call__(self, request: SendRequest) -> Answer:
        """`POST /messages`. Raises Refused."""
        return await self.take(request, self._one)

    async def batch(self, request: SendRequest) -> Answer:
        """`POST /messages/batch`. Raises Refused."""
        return await self.take(request, self._many)

    async def take(self, request: SendRequest, sending: Sending) -> Answer:
        """1 parse, 2 fingerprint, 3 look the key up, 4 validate and decide, 5 store what is large, 6 claim, 7 submit.

        Raises Refused.
        """
        deadline = self._deadline()
        keyed = await aside(len(request.raw), sending.parse, request.raw, request.key_headers)  # 1
        try:
            if keyed.key is None:
                return await self._accept(request, sending, keyed, deadline)
            return await self._accept_once(request, sending, keyed, deadline)
        except LogUnavailable as error:
            raise _unknown() from error

    async def _accept(
        self, request: SendRequest, sending: Sending, keyed: KeyedBody, deadline: Deadline
    ) -> Answer:  # fmt: skip
        made = await sending.make(request.caller, request.request_id, keyed)  # 4
        kept, deadline = await self._keep(made.items, self._after(sending, deadline))  # 5
        await self._submit(request.caller.project_id, kept, deadline)  # 7
        _count(made)
        return Answer(made.answer, replayed=False)

    async def _accept_once(
        self, request: SendRequest, sending: Sending, keyed: KeyedBody, deadline: Deadline
    ) -> Answer:  # fmt: skip
        if not self._idempotency.ready():
            message = "Idempotency keys can not be looked up at this moment."
            raise Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS)
        caller = request.caller
        key = f"{caller.project_id}:{keyed.key}"
        asked = await aside(keyed.octets, fingerprint, "POST", sending.path, keyed.body)  # 2
        holder = self._idempotency.holder(key)  # 3
        if holder is not None:
            return await self._replay(caller, sending, key, keyed, holder, asked, deadline)
        made = await sending.make(caller, request.request_id, keyed)  # 4
        if not made.items:
            return Answer(made.answer, replayed=False)  # of a batch nothing was accepted: that claims nothing
        kept, deadline = await self._keep(made.items, self._after(sending, deadline))  # 5
        claim_id = new_id("clm", self._clock.now_ms())
        claim = sending.claim(made, claim_id=claim_id, fingerprint=asked, valid_until_ms=deadline.broker_ms)
        holder = await self._idempotency.claim(key, caller.project_id, claim, within=self._left(deadline))  # 6
        if holder.claim.claim_id != claim.claim_id:
            return await self._replay(caller, sending, key, keyed, holder, asked, deadline)
        await self._submit(caller.project_id, kept, deadline)  # 7
        self._idempotency.announce_done(key, caller.project_id, claim.claim_id)
        _count(made)
        metrics.idempotent_requests.labels("first").inc()
        return Answer(made.answer, replayed=False)

    async def _replay(
        self,
        caller: Caller,
        sending: Sending,
        key: str,
        keyed: KeyedBody,
        holder: Claimed,
        asked: str,
        deadline: Deadline,
    ) -> Answer:
        """The holder's answer, once its messages are in the log; where it does not say so in time, help it."""
        if holder.claim.fingerprint != asked:
            metrics.idempotent_requests.labels("reused").inc()
            raise Refused("idempotency_key_reused", "This idempotency key belongs to a request with another body.")
        outcome = "replayed"
        if not holder.done and not await self._idempotency.wait_done(key, within=self._patience(holder, deadline)):
            await self._help(caller, sending, keyed, holder, deadline)
            self._idempotency.announce_done(key, caller.project_id, holder.claim.claim_id)
            outcome = "helped"
        metrics.idempotent_requests.labels(outcome).inc()
        return Answer(holder.claim.answer.encode(), replayed=True)

    async def _help(
        self, caller: Caller, sending: Sending, keyed: KeyedBody, holder: Claimed, deadline: Deadline
    ) -> None:
        """Write what the holder would have: its claim (template's version included) and the identical body, no table as
        it is now. The router drops the second.
        """
        try:
            items = await sending.again(holder.claim, keyed)
            kept, deadline = await self._keep(items, self._after(sending, deadline))
        except Refused as refused:  # the holder ran a version of us with other rules, or the storage is away
            raise _unknown() from refused
        await self._submit(caller.project_id, kept, deadline)

    async def _keep(self, items: Sequence[AcceptedItem], deadline: Deadline) -> tuple[list[Kept], Deadline]:
        """Store what is too large for the log, before anything names it; the log's time begins anew after that.

        Raises Refused (503): nothing is claimed yet. What is stored and then not named is swept with its day.
        """
        kept = [Kept(item, await self._blob_of(item)) for item in items]
        return kept, self._deadline() if any(each.blob is not None for each in kept) else deadline

    async def _blob_of(self, item: AcceptedItem) -> Blob | None:
        parcel = await aside(item.submission.size, parcel_of, item.submission, item.accepted)
        if parcel is None:
            return None
        try:
            await self._contents.keep(parcel)
        except ContentsAway as error:
            message = "Large content can not be stored at this moment; nothing was accepted."
            raise Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS) from error
        return parcel.blob

    async def _submit(self, project_id: str, kept: Sequence[Kept], deadline: Deadline) -> None:
        """Each place gets its mails as one batch: all of a single request, or a part of a batch's."""
        by_place: dict[Placed, list[Kept]] = {}
        for each in kept:
            by_place.setdefault(place_of(each.item.accepted.message_ids), []).append(each)
        for place, there in by_place.items():
            submits = [submit for each in there for submit in self._submits_of(project_id, each, deadline)]
            await self._submissions.submit(project_id, submits, place, within=self._left(deadline))

    def _submits_of(self, project_id: str, kept: Kept, deadline: Deadline) -> list[Submit]:
        submission, accepted = kept.item.submission, kept.item.accepted
        submits = submits_of(submission, accepted, valid_until_ms=deadline.broker_ms, blob=kept.blob)
        if accepted.unsubscribe_scope is None:
            return submits
        return self._links.with_links(project_id, submits, accepted.unsubscribe_scope)

    def _after(self, sending: Sending, deadline: Deadline) -> Deadline:
        """The log's time, after drafting."""
        return self._deadline() if sending.takes_its_time else deadline

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


def _count(made: Made) -> None:
    metrics.accepted_messages.inc(sum(len(item.accepted.message_ids) for item in made.items))


def _unknown() -> Refused:
    return Refused(
        "unavailable",
        "The mail could not be confirmed in time.",
        retry_after=RETRY_AFTER_SECONDS,
        hint=UNKNOWN_OUTCOME_HINT,
    )
