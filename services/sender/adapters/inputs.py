"""The router's inbox: what became of a delivery, under an id that any repetition has, too."""

from chassis.ids import derived_id, parse_message_id
from chassis.log import Log, outgoing
from schemas.envelope import seal
from schemas.inputs import AttemptInput, Feedback
from schemas.topics import message_inputs

APPEND_WITHIN = 5.0  # seconds


class LoggedInputs:
    """See `services.sender.ports.Inputs`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def report(self, report: AttemptInput | Feedback, project_id: str) -> None:
        place = parse_message_id(report.message_id)
        assert place is not None, "a delivery's message id was checked when it was taken"
        envelope = seal(
            report,
            record_id=_id_of(report),
            source="sender",
            subject=report.message_id,
            time_ms=self._log.broker_now_ms(),
            project_id=project_id,
        )
        topic = message_inputs(place.lane)
        record = outgoing(topic, envelope, key=report.message_id, partition=place.partition)
        await self._log.append([record], within=APPEND_WITHIN)


def _id_of(report: AttemptInput | Feedback) -> str:
    if isinstance(report, Feedback):
        return derived_id("rec", report.TYPE, report.feedback_id)
    return derived_id("rec", report.TYPE, report.message_id, str(report.attempt), str(report.dispatch))
