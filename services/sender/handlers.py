"""The honest attempt (R23): claim it in the journal, SMTP, record its outcome, tell the router; each step acked first.

What another began is never sent again; what began here is always reported, also after its partition is gone: the lease
gates claims and DATA, never the truth. This module must never decide whether a mail is retried.
"""

from dataclasses import dataclass
from itertools import count
from typing import assert_never

from chassis.clock import Clock
from chassis.log import LogUnavailable
from chassis.table import LEASE
from chassis.telemetry import logger
from schemas.deliveries import AttemptStarted, Delivery
from schemas.tables import Suppression
from services.sender import metrics
from services.sender.domain import reports
from services.sender.domain.history import Await, GiveUp, Repeat, Send, Step, next_step
from services.sender.domain.mime import Mail, UnsafeHeader, sender_domain
from services.sender.domain.outcome import Outcome
from services.sender.domain.queue import Candidate
from services.sender.domain.reports import PostponedFor
from services.sender.gate import FRESH_WITHIN, SendGate
from services.sender.ports import (
    BrokerClock,
    Carried,
    Carrier,
    Inputs,
    Job,
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
    Way,
    Ways,
)
from services.sender.telling import LOG_BACK_OFF, Telling, observe

_log = logger("attempts")

_LOOK_AGAIN = 0.1  # seconds between two looks at a lease that is not good at the moment
_PATH_DOWN_FOR_MS = 1000  # the router knows other paths
_BUSY_FOR_MS = 30_000  # where memory was short for so long it is not there in a second


@dataclass(frozen=True, slots=True)
class Timing:
    """See settings.py for the reasons."""

    deadline_ms: int  # from the claim to the final dot
    margin_ms: int  # beyond another's deadline, before its attempt is given up
    start_within: float  # seconds


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
        self._telling = Telling(journal, inputs, suppressed, clock, broker_clock)
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
                    await self._telling.tell(job, recorded)
                    return True
                case Await(until_ms=until_ms):
                    await self._clock.sleep(max(0, until_ms - self._now_ms()) / 1000)
                case GiveUp(claim=claim):
                    await self._telling.give_up(job, claim)
                case _:
                    assert_never(step)
        return False

    async def _next_step(self, job: Job) -> Step:
        while True:
            try:
                history = await self._journal.history(job.delivery)
            except LogUnavailable as error:
                _log.warning("journal_unavailable", reason=str(error))
                await self._clock.sleep(LOG_BACK_OFF)
            else:
                now_ms, margin_ms = self._now_ms(), self._timing.margin_ms
                return next_step(history, job.delivery.dispatch, now_ms=now_ms, margin_ms=margin_ms)

    # --- nobody has begun ---

    async def _send(self, job: Job) -> bool:
        """Whether it is settled; False: look at the journal again."""
        delivery = job.delivery
        if (found := await self._known_suppression(job)) is not None:
            if given_back := await self._give_back(job):
                await self._telling.refuse(job, found)
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
        observe(self._clock, "way", began)
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
                observe(self._clock, "wait", began)
                transaction = await self._transact(job, _Going(mail, way, slot))
        except UnsafeHeader as error:
            await self._telling.tell_unwritable(job, error)
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
            await self._telling.postpone(job, until_ms, reason)
        return given_back

    async def _settled(self, job: Job, transaction: tuple[Carried, int] | None) -> bool:
        """False where another holds the attempt: look at the journal again."""
        if transaction is None:
            return False
        await self._telling.settle(job, *transaction)
        return True

    async def _give_back(self, job: Job) -> bool:
        """Nobody sends this dispatch any more. False where another began before that was in the log: look again.

        It may be at hand twice, and what the router hears of the one (it waits, it is suppressed) must be true of the
        other: a cancel that is granted meanwhile would be followed by the mail. So the journal has it first. Who claims
        behind it in the log finds it (`given_back`), whose claim stands before it is found here.
        """
        await self._telling.not_sent(job)
        step = await self._next_step(job)
        return isinstance(step, Repeat) and step.recorded.outcome == "not_sent"

    async def _known_suppression(self, job: Job) -> Suppression | None:
        """A mail is refused by a list that is fresh, however long that takes, and none begins on a stale one.

        To begin, it may be some moments old, for the gate looks again. Did all that are at hand need the lease here,
        they would be called at once with each proof, and their turns would outlast it.
        """
        while not self._suppressed.fresh(FRESH_WITHIN if self._telling.find(job) is None else LEASE):
            await self._suppressed.wait_fresh(FRESH_WITHIN)
        return self._telling.find(job)

    async def _transact(self, job: Job, going: _Going | Outcome) -> tuple[Carried, int] | None:
        """Steps 1 and 2: how it ended, and when it started (ms). None where another holds the attempt.

        An outcome in place of a mail is how it ends without SMTP; it needs the claim, for another might send the mail.
        """
        while not self._may_begin(job):
            await self._clock.sleep(_LOOK_AGAIN)
        # 1 the claim
        began = self._clock.monotonic()
        claim = await self._claim(job)
        observe(self._clock, "claim", began)
        if claim is None:
            return Carried("lease"), self._now_ms()
        if (claim.owner, claim.dispatch) != (job.owner, job.delivery.dispatch):
            job.begun = False
            return None
        if self._journal.given_back(job.delivery):  # by another, while we claimed it
            return Carried("lease"), claim.started_at_ms
        if self._telling.is_too_late(job):  # only now that nobody else can have begun
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
            is_too_late=lambda: self._telling.is_too_late(job),
            deadline_is_over=lambda: self._now_ms() >= claim.deadline_ms,
        )
        carried = await self._carry(job, going, gate, dot_by)
        observe(self._clock, "smtp", began)
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
                await self._clock.sleep(LOG_BACK_OFF)
            if not self._may_begin(job):
                return None

    # --- what both need ---

    def _may_begin(self, job: Job) -> bool:
        return not job.tenure.over and self._rights.holds(job.tenure.topic, job.tenure.partition)

    def _now_ms(self) -> int:
        return self._broker_clock.broker_now_ms()


def _candidate(delivery: Delivery) -> Candidate:
    return Candidate(
        delivery.destination,
        delivery.priority,
        delivery.recipient,
        sender_domain(delivery.content),
        is_retry=delivery.attempt > 1,
    )
