"""What a recipient's click does (R12): the address goes on the list for that tag, and nothing of it starts any more.

Idempotent: a link that is used again publishes what it published, under the same ids. It must never touch the list for
mail of a test key: that mail went to nobody.
"""

from dataclasses import dataclass

from chassis.clock import Clock
from chassis.ids import derived_id, new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_ms, to_timestamp
from schemas.events import RecipientUnsubscribed, SuppressionAdded
from schemas.inputs import Feedback
from schemas.tables import Suppression, suppression_key
from services.ingest.domain.unsubscribe import Unsubscription
from services.ingest.management.suppressions import change_id, change_of
from services.ingest.ports import AccountEvents, FeedbackInputs, SuppressionList

RECIPIENT = "recipient"  # who did it


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    clock: Clock
    suppressions: SuppressionList
    events: AccountEvents
    feedback: FeedbackInputs

    async def __call__(self, asked: Unsubscription) -> None:
        """Answered when every reader knows it. Raises LogUnavailable: then the click counts for nothing yet."""
        if asked.environment == "live":
            listed = await self._list(asked)
            applied_at = self.clock.monotonic()
            await self._tell(asked, listed)
            await self._report(asked)
            await self.clock.sleep(max(0.0, applied_at + ANSWER_AFTER - self.clock.monotonic()))
        else:
            await self._report(asked)

    async def _list(self, asked: Unsubscription) -> Suppression:
        recipient = asked.recipient.lower()
        key = suppression_key(asked.project_id, recipient, "unsubscribe", asked.scope)
        present = self.suppressions.get(asked.project_id, key)
        if present is not None:
            return present
        now_ms = self.clock.now_ms()
        suppression_id = new_id("sup", now_ms)
        entry = Suppression(
            id=suppression_id,
            project_id=asked.project_id,
            scope=asked.scope,
            recipient=recipient,
            reason="unsubscribed",
            origin="unsubscribe",
            source_event_id=_event_id(suppression_id, asked),
            created_at=to_timestamp(now_ms),
        )
        await self.suppressions.put(key, entry)
        return entry

    async def _tell(self, asked: Unsubscription, listed: Suppression) -> None:
        event_id = _event_id(listed.id, asked)
        if listed.source_event_id != event_id:
            return  # listed before, by another mail's link or by the customer: nothing has changed
        told = RecipientUnsubscribed(
            recipient=listed.recipient, scope=listed.scope, message_id=asked.message_id, by=RECIPIENT
        )
        added = change_of(SuppressionAdded, listed, by=RECIPIENT)
        project_id, at_ms = asked.project_id, to_ms(listed.created_at)
        await self.events.publish(project_id, event_id, listed.id, told, at_ms)
        await self.events.publish(project_id, change_id(SuppressionAdded, listed), listed.id, added, at_ms)

    async def _report(self, asked: Unsubscription) -> None:
        report = Feedback(
            message_id=asked.message_id,
            feedback_id=derived_id("fbk", asked.message_id, "unsubscribe"),
            kind="unsubscribe",
            received_at_ms=self.clock.now_ms(),
            provider=None,
            by=RECIPIENT,
        )
        await self.feedback.report(asked.project_id, report)


def _event_id(suppression_id: str, asked: Unsubscription) -> str:
    return derived_id("evt", suppression_id, RecipientUnsubscribed.TYPE, asked.message_id)
