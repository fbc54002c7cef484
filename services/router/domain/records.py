"""What a decision looks like as records: the outbox entry with its events, hand-out, suppression and verdict.

Pure, and every id is a function of what it names: made again, it is the same record.
"""

from typing import Any

from chassis.ids import derived_id, event_id
from rules.routing import Chosen
from schemas.deliveries import Delivery
from schemas.envelope import Envelope, Payload, seal, to_timestamp
from schemas.events import SuppressionAdded, SuppressionOrigin, SuppressionReason
from schemas.inputs import Due, Recheck
from schemas.mail import Content
from schemas.states import JsonObject, MessageState, OutboxEntry, Position
from schemas.tables import Suppression, suppression_key
from services.router.domain.decision import Decision, HandOut, Reply

SOURCE = "router"
_LEFT_OUT = Content(from_="", to=[], subject="")  # of an outbox entry's delivery: see schemas.states.OutboxEntry
UNKNOWN_PROJECT = "unknown"  # of a message whose only record nobody can read


def listed_address(recipient: str, destination: str) -> str:
    """An envelope recipient as suppressions name it: lower case, domain as A-label."""
    return f"{recipient.rpartition('@')[0].lower()}@{destination}"


def entry_of(
    before: int,
    after: MessageState,
    decision: Decision,
    *,
    project_id: str,
    route: Chosen,
    offset: int,
    now_ms: int,
) -> OutboxEntry:
    """The outbox entry of one input. `before` is the sequence before its events; a hand-out takes `route`."""
    events = [
        _document(
            seal(
                event,
                record_id=event_id(after.message_id, sequence),
                source=SOURCE,
                subject=after.message_id,
                time_ms=now_ms,
                project_id=project_id,
                sequence=sequence,
            )
        )
        for sequence, event in enumerate(decision.events, before + 1)
    ]
    delivery = None if decision.hand_out is None else _delivery(after, decision.hand_out, route, project_id, now_ms)
    listed, told = None, None
    # Mail of a test key went to nobody, so it proves nothing about its recipient.
    if decision.suppress is not None and after.environment == "live":
        listed, told = _suppression(after, decision.suppress, project_id, now_ms)
    return OutboxEntry(
        input_offset=offset,
        events=events,
        delivery=delivery,
        pool=None if delivery is None else route.pool,
        suppression=listed,
        account_event=told,
        reply=None if decision.reply is None else _verdict(decision.reply, project_id, now_ms),
    )


def answer_of(reply: Reply, *, project_id: str, offset: int, now_ms: int) -> OutboxEntry:
    """The entry of a verdict on a message that nobody knows: there is no state to keep it in, and no need to."""
    return OutboxEntry(input_offset=offset, reply=_verdict(reply, project_id, now_ms))


def due_input(message_id: str, project_id: str, due: Due, now_ms: int) -> Envelope[Due]:
    name = derived_id("rec", message_id, due.kind, str(due.attempt), str(due.dispatch))
    return seal(due, record_id=name, source=SOURCE, subject=message_id, time_ms=now_ms, project_id=project_id)


def recheck_input(message_id: str, project_id: str, suppression_id: str, now_ms: int) -> Envelope[Recheck]:
    recheck = Recheck(message_id=message_id, suppression_id=suppression_id)
    name = derived_id("rec", message_id, "recheck", suppression_id)
    return seal(recheck, record_id=name, source=SOURCE, subject=message_id, time_ms=now_ms, project_id=project_id)


def state_record(state: MessageState, *, project_id: str, now_ms: int) -> Envelope[MessageState]:
    name = derived_id("rec", state.message_id, "state", str(state.input_offset))
    return seal(state, record_id=name, source=SOURCE, subject=state.message_id, time_ms=now_ms, project_id=project_id)


def position_record(position: Position, *, subject: str, now_ms: int) -> Envelope[Position]:
    name = derived_id("rec", subject, str(position.input_offset), str(position.epoch))
    return seal(position, record_id=name, source=SOURCE, subject=subject, time_ms=now_ms, project_id="")


def complete_delivery(delivery: JsonObject, content: Content, valid_until_ms: int) -> JsonObject:
    """A delivery as it goes out: with what it carries, under the present lease."""
    filled = content.model_dump(mode="json", by_alias=True)
    return delivery | {"data": delivery["data"] | {"content": filled, "valid_until_ms": valid_until_ms}}


def is_in_flight(delivery: JsonObject, state: MessageState) -> bool:
    """Whether this hand-out still stands: one that its own batch has overtaken is not sent."""
    data = delivery["data"]
    return state.in_flight and (data["attempt"], data["dispatch"]) == (state.attempt, state.dispatch)


def _delivery(state: MessageState, hand_out: HandOut, route: Chosen, project_id: str, now_ms: int) -> JsonObject:
    assert state.first_dispatched_at_ms is not None
    delivery = Delivery(
        content=_LEFT_OUT,
        valid_until_ms=0,
        message_id=state.message_id,
        recipient=state.recipient,
        destination=state.destination,
        environment=state.environment,
        priority=state.priority,
        tags=state.tags,
        attempt=hand_out.attempt,
        dispatch=hand_out.dispatch,
        created_at_ms=state.created_at_ms,
        first_dispatched_at_ms=state.first_dispatched_at_ms,
        deliver_before_ms=state.deliver_before_ms,
        path=route.path,
        tls=route.tls,
        source_address=state.source_address,
    )
    document = _document(
        seal(
            delivery,
            record_id=derived_id("rec", state.message_id, str(hand_out.attempt), str(hand_out.dispatch)),
            source=SOURCE,
            subject=state.message_id,
            time_ms=now_ms,
            project_id=project_id,
        )
    )
    document["data"]["content"] = None
    return document


def _verdict(reply: Reply, project_id: str, now_ms: int) -> JsonObject:
    told = reply.verdict
    return _document(
        seal(
            told,
            record_id=derived_id("rec", told.message_id, told.request_id, reply.to),
            source=SOURCE,
            subject=reply.to,
            time_ms=now_ms,
            project_id=project_id,
        )
    )


def _suppression(
    state: MessageState, origin: SuppressionOrigin, project_id: str, now_ms: int
) -> tuple[JsonObject, JsonObject]:
    """The list's entry and the account's event, caused by what the last event tells."""
    address = listed_address(state.recipient, state.destination)
    key = suppression_key(project_id, address, origin)
    reason: SuppressionReason = "complaint" if origin == "complaint" else "hard_bounce"
    cause = event_id(state.message_id, state.sequence)
    entry = Suppression(
        id=derived_id("sup", key),
        project_id=project_id,
        scope="*",
        recipient=address,
        reason=reason,
        origin=origin,
        source_event_id=cause,
        created_at=to_timestamp(now_ms),
    )
    told = SuppressionAdded(
        id=entry.id, recipient=address, reason=reason, origin=origin, source_event_id=cause, by=SOURCE
    )
    about: dict[str, Any] = {"source": SOURCE, "subject": entry.id, "time_ms": now_ms, "project_id": project_id}
    return (
        _document(seal(entry, record_id=derived_id("rec", key, cause), **about)),
        _document(seal(told, record_id=derived_id("evt", key, cause), **about)),
    )


def _document(envelope: Envelope[Payload]) -> JsonObject:
    """What `encode` would write, before it is bytes."""
    return envelope.model_dump(mode="json", by_alias=True)
