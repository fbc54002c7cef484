"""The honest attempt (R23): claim it in the journal, SMTP, record its outcome, tell the router; each step acked first.

What another began is never sent again; what began here is always reported, also after its partition is gone: the lease
gates claims and DATA, never the truth. This module must never decide whether a mail is retried.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import assert_never

from chassis.clock import Clock
from chassis.log import LogUnavailable, RecordTooLarge
from chassis.telemetry import logger
from schemas.deliveries import AttemptRecorded, AttemptStarted, Delivery
from schemas.inputs import AttemptInput, Feedback
from schemas.tables import Suppression
from services.sender import metrics
from services.sender.domain import reports
from services.sender.domain.history import Await, GiveUp, Repeat, Send, Step, next_step
from services.sender.domain.mime import Mail, UnsafeHeader, sender_domain
from services.sender.domain.outcome import Outcome, refused_by_us
from services.sender.domain.queue import Candidate
from services.sender.domain.reports import PostponedFor
from services.sender.domain.sandbox import complaint_about
from services.sender.gate import FRESH_WITHIN, SendGate
from services.sender.ports import (
    BrokerClock,
    Carried,
    Carrier,
    Inputs,
    Journal,
    Mails,
    NoContent,
    NoRoom,
    PathDown,
    Rights,
    Sandbox,
    Slot,
    Slots,
    Suppressed,
    Tenure,
    Way,
    Ways,
)

_log = logger("attempts")

_LOG_BACK_OFF = 0.5  # seconds between two tries of what must get into the log
_LOOK_AGAIN = 0.1  # seconds between two looks at a lease that is not good at the moment
_POSTPONED_FOR_MS = 1000  # what failed a check may go again almost at once
_PATH_DOWN_FOR_MS = 1000  # the router knows other paths
_BUSY_FOR_MS = 30_000  # where memory was short for so long it is not there in a second


@dataclass(frozen=True, slots=True)
class Timing:
    """See settings.py for the reasons."""

    deadline_ms: int  # from the claim to the final dot
    margin_ms: int  # beyond another's deadline, before its attempt is given up
    start_within: float  # seconds


@dataclass(slots=True)
class Job:
    """One delivery at hand. `begun`: a claim may be in the log; from then on the job ends with a report, come what may."""

    delivery: Delivery
    project_id: str
    landed_ms: int
    tenure: Tenure
    begun: bool = False
    owner: str = ""  # in the journal; given when it is carried out


@dataclass(frozen=True, slots=True)
class _Going:
    """A mail with a slot."""

    mail: Mail
    way: Way
    slot: Slot


class Attempts:
    """Carries deliveries out. `owner` names this process and no other, not even the next one of the same replica.

    In the journal each job is an owner of its own: the same delivery may be at hand twice (the router says again what it
    may have said before a crash), and only one of the two may send.
    """

    def __init__(
        self,
        *,
        owner: str,
        timing: Timing,
        clock: Clock,
        broker_clock: BrokerClock,
        journal: Journal,
        inputs: Inputs,
        suppressed: Suppressed,
        mails: Mails,
        ways: Ways,
        slots: Slots,
        carrier: Carrier,
        sandbox: Sandbox,
        rights: Rights,
    ) -> None:
        self._owner = owner
        self._timing = timing
        self._clock = clock
        self._broker_clock = broker_clock
        self._journal = journal
        self._inputs = inputs
        self._suppressed = suppressed
        self._mails = mails
        self._ways = ways
        self._slots = slots
        self._carrier = carrier
        self._sandbox = sandbox
        self._rights = rights
        self._jobs = count(1)

    async def carry_out(self, job: Job) -> bool:
        """True when the delivery is settled; False where it is left to its partition's next owner.

        May be cancelled as long as `job.begun` is not set: then nothing has happened that would not happen again.
        """
        if job.landed_ms > job.delivery.valid_until_ms:
            metrics.VOID.inc()
            return True
        job.owner = f"{self._owner}.{next(self._jobs)}"
        while not job.tenure.over:
            step = await self._next_step(job)
            match step:
                case Send():
                    if await self._send(job):
                        return True
                case Repeat(recorded=recorded):
                    metrics.RETOLD.labels(recorded.outcome).inc()
                    await self._tell(job, recorded)
                    return True
                case Await(until_ms=until_ms):
                    await self._clock.sleep(max(0, until_ms - self._now_ms()) / 1000)
                case GiveUp(claim=claim):
                    await self._give_up(job, claim)
                case _:
                    assert_never(step)
        return False

    async def _next_step(self, job: Job) -> Step:
        while True:
            try:
                history = await self._journal.history(job.delivery)
            except LogUnavailable as error:
                _log.warning("journal_unavailable", reason=str(error))
                await self._clock.sleep(_LOG_BACK_OFF)
            else:
                now_ms, margin_ms = self._now_ms(), self._timing.margin_ms
                return next_step(history, job.delivery.dispatch, now_ms=now_ms, margin_ms=margin_ms)

    # --- nobody has begun ---

    async def _send(self, job: Job) -> bool:
        """Whether it is settled; False: look at the journal again."""
        delivery = job.delivery
        if (found := await self._known_suppression(job)) is not None:
            if given_back := await self._give_back(job):
                await self._refuse(job, found)
            return given_back
        way = await self._way(job)
        if isinstance(way, PathDown):
            _log.warning("path_down", message_id=delivery.message_id, path=delivery.path, reason=way.reason)
            return await self._send_back(job, "path_down", self._now_ms() + _PATH_DOWN_FOR_MS)
        if isinstance(way, Outcome):
            transaction = await self._transact(job, way)
            return await self._settled(job, transaction)
        return await self._send_by(job, way)

    async def _way(self, job: Job) -> Way | Outcome | PathDown:
        """Mail of a test key goes to the sandbox, whatever its path says."""
        path = reports.path_of(job.delivery)
        if path == "sandbox":
            return Way(path, job.delivery.destination)
        began = self._clock.monotonic()
        way = await self._ways.of(job.delivery, job.project_id)
        self._observe("way", began)
        return way

    async def _send_by(self, job: Job, way: Way) -> bool:
        began = self._clock.monotonic()
        delivery, within = job.delivery, self._timing.start_within
        try:
            candidate = _candidate(delivery)
            self._slots.check(way, candidate)
            async with (
                self._mails.written(delivery, job.project_id, within=within) as mail,
                self._slots.slot(way, candidate, within=within) as slot,
            ):
                self._observe("wait", began)
                transaction = await self._transact(job, _Going(mail, way, slot))
        except UnsafeHeader as error:
            await self._tell_unwritable(job, error)
            return True
        except NoContent as error:
            _log.error("content_unavailable", message_id=delivery.message_id, reason=str(error))
            transaction = await self._transact(job, error.outcome)
        except NoRoom as error:
            until_ms = self._now_ms() + _BUSY_FOR_MS if error.until_ms is None else error.until_ms
            _log.info("delivery_postponed", message_id=delivery.message_id, destination=delivery.destination)
            return await self._send_back(job, error.reason, until_ms)
        return await self._settled(job, transaction)

    async def _send_back(self, job: Job, reason: PostponedFor, until_ms: int) -> bool:
        """No attempt is used. Whether it is settled; False: look at the journal again."""
        if given_back := await self._give_back(job):
            metrics.POSTPONED.labels(reason).inc()
            await self._postpone(job, until_ms, reason)
        return given_back

    async def _settled(self, job: Job, transaction: tuple[Carried, int] | None) -> bool:
        """False where another holds the attempt: look at the journal again."""
        if transaction is None:
            return False
        await self._settle(job, *transaction)
        return True

    async def _give_back(self, job: Job) -> bool:
        """Nobody sends this dispatch any more. False where another began before that was in the log: look again.

        It may be at hand twice, and what the router hears of the one (it waits, it is suppressed) must be true of the
        other: a cancel that is granted meanwhile would be followed by the mail. So the journal has it first. Who claims
        behind it in the log finds it (`given_back`), whose claim stands before it is found here.
        """
        record = reports.not_sent(job.delivery, job.owner)
        await self._until_logged(lambda: self._journal.record(record, job.project_id, read_back=True))
        step = await self._next_step(job)
        return isinstance(step, Repeat) and step.recorded.outcome == "not_sent"

    async def _known_suppression(self, job: Job) -> Suppression | None:
        """Of a table that is fresh now, however long that takes."""
        while not self._suppressed.fresh():
            await self._suppressed.wait_fresh(FRESH_WITHIN)
        return self._find(job)

    async def _transact(self, job: Job, going: _Going | Outcome) -> tuple[Carried, int] | None:
        """Steps 1 and 2: how it ended, and when it started (ms). None where another holds the attempt.

        An outcome in place of a mail is how it ends without SMTP; it needs the claim, for another might send the mail.
        """
        while not self._may_begin(job):
            await self._clock.sleep(_LOOK_AGAIN)
        # 1 the claim
        began = self._clock.monotonic()
        claim = await self._claim(job)
        self._observe("claim", began)
        if claim is None:
            return Carried("lease"), self._now_ms()
        if (claim.owner, claim.dispatch) != (job.owner, job.delivery.dispatch):
            job.begun = False
            return None
        if self._journal.given_back(job.delivery):  # by another, while we claimed it
            return Carried("lease"), claim.started_at_ms
        if self._is_too_late(job):  # only now that nobody else can have begun
            return Carried("expired"), claim.started_at_ms
        if isinstance(going, Outcome):
            return Carried(going), claim.started_at_ms
        # 2 SMTP
        began = self._clock.monotonic()
        dot_by = began + (claim.deadline_ms - self._now_ms()) / 1000
        gate = SendGate(
            may_begin=lambda: self._may_begin(job),
            suppressed=self._suppressed,
            project_id=job.project_id,
            recipient=job.delivery.recipient,
            tags=job.delivery.tags,
            is_too_late=lambda: self._is_too_late(job),
            deadline_is_over=lambda: self._now_ms() >= claim.deadline_ms,
        )
        carried = await self._carry(job, going, gate, dot_by)
        self._observe("smtp", began)
        return carried, claim.started_at_ms

    async def _carry(self, job: Job, going: _Going, gate: SendGate, dot_by: float) -> Carried:
        if going.way.path == "sandbox":
            return await self._sandbox.take(job.delivery, job.project_id, going.mail, gate)
        carried = await self._carrier.carry(going.way, going.mail, gate, dot_by=dot_by)
        going.slot.tell(carried)
        return carried

    async def _claim(self, job: Job) -> AttemptStarted | None:
        """Who holds the attempt. None: perhaps we do, but the log did not say so while we had the right to begin."""
        job.begun = True
        while True:
            now_ms = self._now_ms()
            started = AttemptStarted(
                message_id=job.delivery.message_id,
                attempt=job.delivery.attempt,
                dispatch=job.delivery.dispatch,
                owner=job.owner,
                started_at_ms=now_ms,
                deadline_ms=now_ms + self._timing.deadline_ms,
                valid_until_ms=self._rights.lease_ends_ms(),
            )
            try:
                return await self._journal.claim(started, job.project_id)
            except LogUnavailable as error:  # it may be there, or land yet: ask again; of ours the first one counts
                _log.warning("claim_unconfirmed", message_id=job.delivery.message_id, reason=str(error))
                await self._clock.sleep(_LOG_BACK_OFF)
            if not self._may_begin(job):
                return None

    async def _settle(self, job: Job, carried: Carried, started_at_ms: int) -> None:
        """Steps 3 and 4: they succeed, however long it takes."""
        ended, delivery, owner = carried.ended, job.delivery, job.owner
        if isinstance(ended, Outcome):
            metrics.ATTEMPTS.labels(ended.outcome, ended.phase).inc()
            now_ms = self._now_ms()
            record = reports.recorded(delivery, owner, ended, carried.hop, started_at_ms=started_at_ms, now_ms=now_ms)
        else:
            metrics.POSTPONED.labels(ended).inc()
            _log.info("attempt_stopped", message_id=delivery.message_id, reason=ended)
            record = reports.not_sent(delivery, owner)
        # 3 the outcome
        began = self._clock.monotonic()
        await self._until_logged(lambda: self._journal.record(record, job.project_id))
        self._observe("record", began)
        # 4 the router
        await self._tell(job, record)

    # --- another has begun ---

    async def _give_up(self, job: Job, claim: AttemptStarted) -> None:
        """Its owner can't send any more, and has said nothing: unknown. Whether that came first, the journal tells."""
        _log.warning("attempt_given_up", message_id=claim.message_id, attempt=claim.attempt, owner=claim.owner)
        record = reports.given_up(claim, job.delivery, now_ms=self._now_ms())
        await self._until_logged(lambda: self._journal.record(record, job.project_id, read_back=True))

    # --- telling the router ---

    async def _tell(self, job: Job, record: AttemptRecorded) -> None:
        """Of a dispatch that was given back it is told why: suppressed, too late, or merely postponed."""
        if record.outcome != "not_sent":
            await self._report(job, reports.ended(job.delivery, record))
            if (complaint := complaint_about(job.delivery, record)) is not None:
                await self._report(job, complaint)
        elif (found := self._find(job)) is not None:
            await self._refuse(job, found)
        elif self._is_too_late(job):
            await self._expire(job)
        else:
            await self._postpone(job, self._now_ms() + _POSTPONED_FOR_MS, "busy")

    async def _tell_unwritable(self, job: Job, error: UnsafeHeader) -> None:
        """Nothing of it was or will be sent, so it needs no claim."""
        _log.error("mail_can_not_be_written", message_id=job.delivery.message_id, reason=str(error))
        now_ms, ended = self._now_ms(), refused_by_us(554, "5.6.0", "the mail can not be written")
        record = reports.recorded(job.delivery, job.owner, ended, reports.Hop(), started_at_ms=now_ms, now_ms=now_ms)
        await self._tell(job, record)

    async def _refuse(self, job: Job, found: Suppression) -> None:
        metrics.REFUSED.inc()
        await self._report(job, reports.refused(job.delivery, found))

    async def _expire(self, job: Job) -> None:
        metrics.EXPIRED.inc()
        await self._report(job, reports.expired(job.delivery))

    async def _postpone(self, job: Job, until_ms: int, reason: PostponedFor) -> None:
        await self._report(job, reports.postponed(job.delivery, until_ms, reason))

    async def _report(self, job: Job, report: AttemptInput | Feedback) -> None:
        began = self._clock.monotonic()
        await self._until_logged(lambda: self._inputs.report(report, job.project_id))
        self._observe("report", began)

    # --- what they all need ---

    async def _until_logged(self, append: Callable[[], Awaitable[None]]) -> None:
        """Again and again, under the same id. A record that its topic does not take is a bug, and stops the service."""
        while True:
            try:
                return await append()
            except RecordTooLarge:
                raise
            except LogUnavailable as error:
                _log.warning("append_unconfirmed", reason=str(error))
            await self._clock.sleep(_LOG_BACK_OFF)

    def _find(self, job: Job) -> Suppression | None:
        return self._suppressed.find(job.project_id, job.delivery.recipient, job.delivery.tags)

    def _is_too_late(self, job: Job) -> bool:
        return reports.too_late(job.delivery, self._now_ms())

    def _may_begin(self, job: Job) -> bool:
        return not job.tenure.over and self._rights.holds(job.tenure.topic, job.tenure.partition)

    def _now_ms(self) -> int:
        return self._broker_clock.broker_now_ms()

    def _observe(self, step: str, began: float) -> None:
        metrics.STEP_SECONDS.labels(step).observe(self._clock.monotonic() - began)


def _candidate(delivery: Delivery) -> Candidate:
    return Candidate(delivery.destination, delivery.priority, delivery.recipient, sender_domain(delivery.content))
