"""Events that are to be called once more: which, where they are looked for, and what has failed. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.ids import message_time_of
from schemas.envelope import Envelope, Payload, to_ms
from schemas.tables import WebhookEndpoint
from schemas.webhooks import LONGEST_REPLAY_MS, WebhookAttempt, WebhookReplay
from services.webhooks.domain.matching import asks_for, carries_tag_of, is_about

# An event is in the log a moment after its time; while the brokers are away, later. Its window is read that much further.
LATE_MS = 3_600_000
MOST_FAILED = 100_000  # event ids in memory, about 15 MB

Left = Mapping[str, tuple[int, int]]  # "topic/partition": the next offset, and the end


@dataclass(frozen=True, slots=True)
class Replay:
    """One that is under way in a partition of webhook-deliveries."""

    partition: int
    project_id: str
    asked_at_ms: int
    asked: WebhookReplay
    traceparent: str | None = None

    @property
    def id(self) -> str:
        return self.asked.id

    @property
    def version(self) -> int:
        """Of its records in the log: the highest counts."""
        return self.asked.round

    @property
    def begun(self) -> bool:
        return self.asked.round > 0

    @property
    def left(self) -> Left:
        return self.asked.left

    def with_left(self, left: Left, *, matched: int = 0, queued: int = 0) -> "Replay":
        """The same, further on by so many events; what has been read to its end is left out."""
        unread = {place: span for place, span in left.items() if span[0] < span[1]}
        before = self.asked
        further = {"matched": before.matched + matched, "queued": before.queued + queued}
        asked = before.model_copy(update={"round": before.round + 1, "left": unread, **further})
        return Replay(self.partition, self.project_id, self.asked_at_ms, asked, self.traceparent)

    @property
    def window_ms(self) -> tuple[int, int]:
        """Between which broker times its events lie."""
        if self.asked.event_id is None:
            return to_ms(self.asked.since), to_ms(self.asked.until) + LATE_MS
        oldest = self.asked_at_ms - LONGEST_REPLAY_MS
        return max(oldest, message_time_of(self.asked.event_id) or oldest), self.asked_at_ms + LATE_MS

    @property
    def trait(self) -> bytes:
        """What stands in each of its events: those without it need not be decoded."""
        return f'"{self.asked.event_id or self.project_id}"'.encode()

    def wants(self, event: Envelope[Payload], endpoint: WebhookEndpoint) -> bool:
        """Whether the endpoint is to be called with this event once more (`only_failed` apart)."""
        if event.project_id != self.project_id or is_about(event.data, endpoint):
            return False
        if self.asked.event_id is not None:
            return event.id == self.asked.event_id
        return (
            asks_for(self.asked.event_types or endpoint.events, event.type)
            and carries_tag_of(endpoint, event.data)
            and self.asked.since <= event.time < self.asked.until
        )


def replay_of(envelope: Envelope[WebhookReplay], partition: int, traceparent: str | None) -> Replay:
    return Replay(partition, envelope.project_id, to_ms(envelope.time), envelope.data, traceparent)


@dataclass(slots=True)
class Failed:
    """Events of an endpoint that failed and have not arrived: all failures are read first, then all arrivals.

    An event arrives by another delivery than the one that failed where it was replayed, so their order says nothing.
    """

    endpoint_id: str
    event_ids: set[str] = field(default_factory=set)

    @property
    def too_many(self) -> bool:
        """More have failed than are remembered here, so that what is remembered is not what was asked for."""
        return len(self.event_ids) > MOST_FAILED

    def failure(self, attempt: WebhookAttempt) -> None:
        of_it = attempt.endpoint_id == self.endpoint_id and attempt.cause != "test"
        if of_it and attempt.outcome != "succeeded":
            self.event_ids.add(attempt.event_id)

    def arrival(self, attempt: WebhookAttempt) -> None:
        if attempt.endpoint_id == self.endpoint_id and attempt.outcome == "succeeded":
            self.event_ids.discard(attempt.event_id)
