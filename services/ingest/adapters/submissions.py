"""Submissions on their way to the router: one request, one partition, one batch."""

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.ids import derived_id
from chassis.log import Log, LogUnavailable, outgoing
from schemas.envelope import seal
from schemas.inputs import Submit
from schemas.mail import Lane
from schemas.topics import message_inputs
from services.ingest import metrics
from services.ingest.domain.acceptance import Placed

# Kafka's own bytes around the records of a batch.
_BATCH_OVERHEAD = 4096


class LogSubmissions:
    """Appends to message-inputs; partitions take turns, so that they fill evenly whatever comes."""

    def __init__(self, log: Log, clock: Clock, *, first_turn: int) -> None:
        self._log = log
        self._clock = clock
        self._turn = first_turn

    def place(self, lane: Lane) -> Placed:
        self._turn += 1
        return Placed(lane, self._turn % message_inputs(lane).partitions)

    def max_bytes(self, lane: Lane) -> int:
        return message_inputs(lane).max_bytes - _BATCH_OVERHEAD

    def broker_now_ms(self) -> int:
        return self._log.broker_now_ms()

    async def submit(self, project_id: str, submits: Sequence[Submit], place: Placed, *, within: float) -> None:
        topic = message_inputs(place.lane)
        records = [
            outgoing(
                topic,
                seal(
                    submit,
                    record_id=derived_id("inp", submit.message_id, "submit"),
                    source="ingest",
                    subject=submit.message_id,
                    time_ms=submit.created_at_ms,
                    project_id=project_id,
                ),
                key=submit.message_id,
                partition=place.partition,
                valid_until_ms=submit.valid_until_ms,
            )
            for submit in submits
        ]
        begun = self._clock.monotonic()
        append = self._log.append if len(records) == 1 else self._log.append_together
        try:
            await append(records, within=within)
        except LogUnavailable:
            metrics.append_failures.inc()
            raise
        metrics.append_seconds.observe(self._clock.monotonic() - begun)
