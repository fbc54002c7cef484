"""The records this service writes. Ids and contents are functions of what caused them, so that a repeat changes nothing."""

from dataclasses import dataclass

import orjson

from chassis.ids import derived_id
from schemas.envelope import Envelope, Payload, seal, to_ms, to_timestamp
from schemas.tables import WebhookEndpoint
from schemas.webhooks import (
    ReplayFailure,
    ReplayState,
    ReplayStatus,
    WebhookAttempt,
    WebhookDelivery,
    WebhookReplay,
    WebhookTest,
)
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.outcome import Verdict
from services.webhooks.domain.replay import Replay

SOURCE = "webhooks"


@dataclass(frozen=True, slots=True)
class Made:
    """An attempt that was made: when (Unix ms), how long it took, and what it came to."""

    at_ms: int
    duration_ms: int
    verdict: Verdict


def body_of(event: Envelope[Payload], value: bytes) -> str:
    """The event byte for byte as it stands in Kafka, with `timestamp` added at the top."""
    return (b'{"timestamp":' + orjson.dumps(event.time) + b"," + value.lstrip()[1:]).decode()


def first_delivery(event: Envelope[Payload], value: bytes, endpoint: WebhookEndpoint) -> Envelope[WebhookDelivery]:
    """What is to be sent of an event to an endpoint; its id is a function of the two."""
    happened_ms = to_ms(event.time)
    data = WebhookDelivery(
        id=derived_id("whd", event.id, endpoint.id),
        endpoint_id=endpoint.id,
        event_id=event.id,
        event_type=event.type,
        body=body_of(event, value),
        attempt=1,
        due_at_ms=happened_ms,
        created_at_ms=happened_ms,
    )
    return _delivery_record(data, event.project_id)


def test_delivery(event: Envelope[WebhookTest], value: bytes) -> Envelope[WebhookDelivery]:
    """The one call of a test event."""
    at_ms = to_ms(event.time)
    data = WebhookDelivery(
        id=derived_id("whd", event.id, event.data.webhook_id),
        endpoint_id=event.data.webhook_id,
        event_id=event.id,
        event_type=event.type,
        body=body_of(event, value),
        attempt=1,
        due_at_ms=at_ms,
        created_at_ms=at_ms,
        cause="test",
    )
    return _delivery_record(data, event.project_id)


def replayed_delivery(event: Envelope[Payload], value: bytes, replay: Replay) -> Envelope[WebhookDelivery]:
    """What is to be sent of an event once more: another delivery than the first one, of the same event id."""
    asked = replay.asked
    data = WebhookDelivery(
        id=derived_id("whd", event.id, asked.webhook_id, replay.id),
        endpoint_id=asked.webhook_id,
        event_id=event.id,
        event_type=event.type,
        body=body_of(event, value),
        attempt=1,
        due_at_ms=replay.asked_at_ms,
        created_at_ms=replay.asked_at_ms,
        cause="replay",
        replay_id=replay.id,
    )
    return _delivery_record(data, event.project_id)


def replay_record(replay: Replay) -> Envelope[WebhookReplay]:
    """How far a replay has come."""
    return seal(
        replay.asked,
        record_id=derived_id("rec", replay.id, str(replay.version)),
        source=SOURCE,
        subject=replay.asked.webhook_id,
        time_ms=replay.asked_at_ms,
        project_id=replay.project_id,
    )


def replay_state(
    replay: Replay, status: ReplayStatus, now_ms: int, reason: ReplayFailure | None = None
) -> Envelope[ReplayState]:
    """The same, for who asked for it."""
    asked = replay.asked
    data = ReplayState(
        id=asked.id,
        project_id=replay.project_id,
        webhook_id=asked.webhook_id,
        status=status,
        event_id=asked.event_id,
        since=asked.since,
        until=asked.until,
        event_types=asked.event_types,
        only_failed=asked.only_failed,
        created_at=to_timestamp(replay.asked_at_ms),
        matched=asked.matched,
        queued=asked.queued,
        finished_at=None if status == "running" else to_timestamp(now_ms),
        reason=reason,
    )
    return seal(
        data,
        record_id=derived_id("rec", data.model_dump_json(), str(now_ms)),
        source=SOURCE,
        subject=asked.id,
        time_ms=now_ms,
        project_id=replay.project_id,
    )


def delivery_record(delivery: Delivery) -> Envelope[WebhookDelivery]:
    """A pending delivery as it stands."""
    data = WebhookDelivery(
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        body=delivery.body,
        attempt=delivery.attempt,
        due_at_ms=delivery.due_at_ms,
        created_at_ms=delivery.created_at_ms,
        cause=delivery.cause,
        replay_id=delivery.replay_id,
    )
    return _delivery_record(data, delivery.project_id)


def _delivery_record(data: WebhookDelivery, project_id: str) -> Envelope[WebhookDelivery]:
    return seal(
        data,
        record_id=derived_id("rec", data.id, str(data.attempt)),
        source=SOURCE,
        subject=data.id,
        time_ms=data.created_at_ms,
        project_id=project_id,
    )


def attempt_record(delivery: Delivery, made: Made, following: Delivery | None) -> Envelope[WebhookAttempt]:
    """The attempt for people to read; `following` is the delivery's next state, None where this was its last."""
    verdict = made.verdict
    data = WebhookAttempt(
        id=derived_id("wha", delivery.id, str(delivery.attempt)),
        delivery_id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        attempt=delivery.attempt,
        at=to_timestamp(made.at_ms),
        duration_ms=made.duration_ms,
        outcome="succeeded" if verdict.kind == "succeeded" else "exhausted" if following is None else "failed",
        status_code=verdict.status_code,
        error=verdict.error,
        response=verdict.response,
        next_attempt_at=None if following is None else to_timestamp(following.due_at_ms),
        cause=delivery.cause,
        replay_id=delivery.replay_id,
    )
    return seal(
        data,
        record_id=data.id,
        source=SOURCE,
        subject=delivery.id,
        time_ms=made.at_ms,
        project_id=delivery.project_id,
    )
