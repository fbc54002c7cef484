"""What recipients do with a mail, on its way to the router that owns the message."""

from chassis.ids import derived_id, parse_message_id
from chassis.log import Log, outgoing
from schemas.envelope import seal
from schemas.inputs import Feedback
from schemas.topics import message_inputs

_WITHIN = 2.5  # seconds: as for every request


class LogFeedback:
    """See `services.ingest.ports.FeedbackInputs`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def report(self, project_id: str, feedback: Feedback) -> None:
        place = parse_message_id(feedback.message_id)
        assert place is not None, "the id stood in a link that was made here"
        envelope = seal(
            feedback,
            record_id=derived_id("inp", feedback.feedback_id),
            source="ingest",
            subject=feedback.message_id,
            time_ms=feedback.received_at_ms,
            project_id=project_id,
        )
        record = outgoing(message_inputs(place.lane), envelope, key=feedback.message_id, partition=place.partition)
        await self._log.append([record], within=_WITHIN)
