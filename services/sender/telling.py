"""What became of a delivery: written down, then told to the router, each again under the same id until the log has it (R23).

It must never tell the router what others may not find in the journal, nor give up telling.
"""

from collections.abc import Awaitable, Callable
from functools import cache

from chassis.clock import Clock
from chassis.log import LogUnavailable, RecordTooLarge
from chassis.telemetry import logger
from schemas.deliveries import AttemptRecorded, AttemptStarted
from schemas.inputs import AttemptInput, Feedback
from schemas.tables import Suppression
from services.sender import metrics
from services.sender.domain import reports
from services.sender.domain.mime import UnsafeHeader
from services.sender.domain.outcome import Outcome, refused_by_us
from services.sender.domain.reports import PostponedFor
from services.sender.domain.sandbox import complaint_about
from services.sender.ports import BrokerClock, Carried, Inputs, Job, Journal, Suppressed

_log = logger("attempts")
_step_seconds = cache(metrics.STEP_SECONDS.labels)  # to look it up by its label takes longer than to count

LOG_BACK_OFF = 0.5  # seconds between two tries of what must get into the log
_POSTPONED_FOR_MS = 1000  # what failed a check may go again almost at once


class Telling:
    def __init__(
        self, journal: Journal, inputs: Inputs, suppressed: Suppressed, clock: Clock, broker_clock: BrokerClock
    ) -> None:
        self._journal = journal
        self._inputs = inputs
        self._suppressed = suppressed
        self._clock = clock
        self._broker_clock = broker_clock

    # --- into the journal ---

    async def settle(self, job: Job, carried: Carried, started_at_ms: int) -> None:
        """Steps 3 and 4 of an attempt: they succeed, however long it takes."""
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
        observe(self._clock, "record", began)
        # 4 the router
        await self.tell(job, record)

    async def not_sent(self, job: Job) -> None:
        """This dispatch is given back, and whoever looks finds it so."""
        record = reports.not_sent(job.delivery, job.owner)
        await self._until_logged(lambda: self._journal.record(record, job.project_id, read_back=True))

    async def give_up(self, job: Job, claim: AttemptStarted) -> None:
        """Its owner can't send any more, and has said nothing: unknown. Whether that came first, the journal tells."""
        _log.warning("attempt_given_up", message_id=claim.message_id, attempt=claim.attempt, owner=claim.owner)
        record = reports.given_up(claim, job.delivery, now_ms=self._now_ms())
        await self._until_logged(lambda: self._journal.record(record, job.project_id, read_back=True))

    # --- to the router ---

    async def tell(self, job: Job, record: AttemptRecorded) -> None:
        """Of a dispatch that was given back it is told why: suppressed, too late, or merely postponed."""
        if record.outcome != "not_sent":
            await self._report(job, reports.ended(job.delivery, record))
            if (complaint := complaint_about(job.delivery, record)) is not None:
                await self._report(job, complaint)
        elif (found := self.find(job)) is not None:
            await self.refuse(job, found)
        elif self.is_too_late(job):
            metrics.EXPIRED.inc()
            await self._report(job, reports.expired(job.delivery))
        else:
            await self.postpone(job, self._now_ms() + _POSTPONED_FOR_MS, "busy")

    async def tell_unwritable(self, job: Job, error: UnsafeHeader) -> None:
        """Nothing of it was or will be sent, so it needs no claim."""
        _log.error("mail_can_not_be_written", message_id=job.delivery.message_id, reason=str(error))
        now_ms, ended = self._now_ms(), refused_by_us(554, "5.6.0", "the mail can not be written")
        record = reports.recorded(job.delivery, job.owner, ended, reports.Hop(), started_at_ms=now_ms, now_ms=now_ms)
        await self.tell(job, record)

    async def refuse(self, job: Job, found: Suppression) -> None:
        metrics.REFUSED.inc()
        await self._report(job, reports.refused(job.delivery, found))

    async def postpone(self, job: Job, until_ms: int, reason: PostponedFor) -> None:
        await self._report(job, reports.postponed(job.delivery, until_ms, reason))

    # --- what decides which of them ---

    def find(self, job: Job) -> Suppression | None:
        return self._suppressed.find(job.project_id, job.delivery.recipient, job.delivery.tags)

    def is_too_late(self, job: Job) -> bool:
        return reports.too_late(job.delivery, self._now_ms())

    async def _report(self, job: Job, report: AttemptInput | Feedback) -> None:
        began = self._clock.monotonic()
        await self._until_logged(lambda: self._inputs.report(report, job.project_id))
        observe(self._clock, "report", began)

    async def _until_logged(self, append: Callable[[], Awaitable[None]]) -> None:
        """Again and again, under the same id. A record that its topic does not take is a bug, and stops the service."""
        while True:
            try:
                return await append()
            except RecordTooLarge:
                raise
            except LogUnavailable as error:
                _log.warning("append_unconfirmed", reason=str(error))
            await self._clock.sleep(LOG_BACK_OFF)

    def _now_ms(self) -> int:
        return self._broker_clock.broker_now_ms()


def observe(clock: Clock, step: str, began: float) -> None:
    """How long a step of an attempt took, from `began` (monotonic seconds) until now."""
    _step_seconds(step).observe(clock.monotonic() - began)
