"""Made-up but sound lives of messages, as the router and the other writers would put them into the log."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chassis.ids import MessageId, MessageIds, derived_id, event_id
from schemas.envelope import Envelope, seal, to_timestamp
from schemas.events import (
    MessageAccepted,
    MessageBounced,
    MessageDeferred,
    MessageDelivered,
    MessageEvent,
    MessageHeld,
    MessageOutcome,
    MessageQueued,
    MessageSuppressed,
    SuppressionAdded,
)
from schemas.mail import Attempt, Category
from schemas.webhooks import AttemptOutcome, WebhookAttempt

PROJECT = "prj_06GC8M3CFE0000000000000001"
OTHER_PROJECT = "prj_06GC8M3CFE0000000000000002"

_OUTCOMES: dict[str, tuple[type[MessageOutcome], Category, int, str]] = {
    "delivered": (MessageDelivered, "delivered", 250, "2.0.0"),
    "deferred": (MessageDeferred, "transient", 451, "4.7.1"),
    "bounced": (MessageBounced, "invalid_recipient", 550, "5.1.1"),
}


@dataclass(slots=True)
class History:
    """Writes lives; the same seed writes the same ones. `now_ms` moves on with each event."""

    now_ms: int
    partitions: int = 12
    seed: int = 1
    project_id: str = PROJECT
    _random: random.Random = field(init=False)
    _ids: MessageIds = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._ids = MessageIds({1: b"0123456789abcdef"}, 1, self._random.getrandbits)

    def new_id(self, project_id: str | None = None) -> MessageId:
        self.now_ms += 7
        partition = self._random.randrange(self.partitions)
        return self._ids.new(
            project_id=project_id or self.project_id, now_ms=self.now_ms, lane="standard", partition=partition
        )

    def life(
        self,
        *steps: str,
        message_id: MessageId | None = None,
        recipient: str = "ada@example.org",
        sender: str = "Shop <hello@example.com>",
        subject: str = "Your code",
        tags: Sequence[str] = ("otp",),
        metadata: dict[str, str] | None = None,
    ) -> list[Envelope[MessageEvent]]:
        """The events of one message, `steps` being the statuses it goes through ("queued", "accepted", …)."""
        known = message_id or self.new_id()
        about: dict[str, Any] = {
            "message_id": known.text,
            "recipient": recipient,
            "tags": list(tags),
            "metadata": metadata or {},
            "environment": "live",
        }
        events, attempts = [], 0
        for sequence, step in enumerate(steps, start=1):
            self.now_ms += 11
            attempts += step in _OUTCOMES
            data = self._step(step, {**about, "status": step}, known, attempts, sender=sender, subject=subject)
            events.append(
                seal(
                    data, record_id=event_id(known.text, sequence), source="router", subject=known.text,
                    time_ms=self.now_ms, project_id=self.project_id, sequence=sequence,
                )
            )  # fmt: skip
        return events

    def suppression(self, recipient: str) -> Envelope[SuppressionAdded]:
        self.now_ms += 5
        known = derived_id("sup", recipient, str(self.now_ms))
        data = SuppressionAdded(
            id=known, recipient=recipient, reason="manual", origin="api", source_event_id=None, by="key_1"
        )
        return seal(
            data, record_id=derived_id("evt", known), source="ingest", subject=known, time_ms=self.now_ms,
            project_id=self.project_id,
        )  # fmt: skip

    def webhook_attempt(
        self, endpoint_id: str, number: int, *, outcome: AttemptOutcome = "succeeded", event_id: str = "evt_1"
    ) -> Envelope[WebhookAttempt]:
        self.now_ms += 3
        data = WebhookAttempt(
            id=derived_id("wha", endpoint_id, str(number)), delivery_id=derived_id("whd", endpoint_id, str(number)),
            endpoint_id=endpoint_id, event_id=event_id, event_type="message.queued", attempt=1,
            at=to_timestamp(self.now_ms), duration_ms=12, outcome=outcome, status_code=200, error=None,
            response="ok", next_attempt_at=None,
        )  # fmt: skip
        return seal(
            data, record_id=derived_id("rec", data.id), source="webhooks", subject=data.delivery_id,
            time_ms=self.now_ms, project_id=self.project_id,
        )  # fmt: skip

    def _step(
        self, step: str, about: dict[str, Any], known: MessageId, attempt: int, *, sender: str, subject: str
    ) -> MessageEvent:
        now = to_timestamp(self.now_ms)
        match step:
            case "queued":
                return MessageQueued(
                    **about, from_=sender, subject=subject, priority="normal", channel="api", api_key_id="key_1",
                    size=100, submission_id="sub_1", created_at=to_timestamp(known.created_at_ms),
                )  # fmt: skip
            case "accepted":
                return MessageAccepted(
                    **about, path="main", suppression_checked_at=now, reason=None, next_attempt_at=None
                )
            case "suppressed":
                return MessageSuppressed(**about, reason="hard_bounce", source_event_id="evt_9", by="router")
            case "held":
                return MessageHeld(**about, reason="internal_error", source_event_id=None, by="router")
        kind, category, code, enhanced = _OUTCOMES[step]
        waits = step == "deferred"
        detail = Attempt(
            number=attempt, started_at=now, finished_at=now, path="main", phase="reply", reply=f"{code} {enhanced} said so",
            code=code, enhanced_code=enhanced,
        )  # fmt: skip
        return kind(
            **about, attempt=detail, category=category, reason="retry_ladder" if waits else None,
            next_attempt_at=to_timestamp(self.now_ms + 30_000) if waits else None,
        )  # fmt: skip
