"""Values the tests of webhooks start from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chassis.ids import event_id
from schemas.envelope import Envelope, seal, to_timestamp
from schemas.events import MessageQueued
from schemas.tables import WebhookEndpoint
from schemas.webhooks import WebhookReplay
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.replay import Replay
from services.webhooks.ports import Keeper

NOW_MS = 1_790_000_000_123
SECRET = "whsec_" + "A" * 43 + "="  # 32 zero bytes
PROJECT = "prj_1"


def a_delivery(number: int = 1, *, endpoint: str = "whk_1", attempt: int = 1, due_at_ms: int = NOW_MS) -> Delivery:
    return Delivery(
        id=f"whd_{endpoint}_{number}",
        partition=0,
        project_id=PROJECT,
        endpoint_id=endpoint,
        event_id=f"evt_{number}",
        event_type="message.queued",
        body='{"timestamp":"2026-09-21T14:13:20.123Z"}',
        attempt=attempt,
        due_at_ms=due_at_ms,
        created_at_ms=NOW_MS,
    )


def unpaced(_: str) -> float:
    """The rate of endpoints whose pace is not what a test is about."""
    return 1e9


@dataclass(slots=True)
class Begun:
    """Stands in for who carries replays out (`services.webhooks.ports.Replaying`)."""

    running: dict[str, Replay] = field(default_factory=dict)

    def begin(self, replay: Replay, keeper: Keeper) -> None:
        self.running.setdefault(replay.id, replay)

    def end(self, replay_id: str) -> None:
        self.running.pop(replay_id, None)


def a_replay(
    number: int = 1, *, event_id: str | None = None, only_failed: bool = False, event_types: Sequence[str] = ()
) -> Replay:
    asked = WebhookReplay(
        id=f"rpl_{number}",
        webhook_id="whk_1",
        by="key_1",
        event_id=event_id,
        since=to_timestamp(NOW_MS - 60_000),
        until=to_timestamp(NOW_MS),
        event_types=list(event_types),
        only_failed=only_failed,
    )
    return Replay(0, PROJECT, NOW_MS, asked)


def an_event(
    number: int = 1, *, tags: Sequence[str] = ("code",), project: str = PROJECT, time_ms: int = NOW_MS
) -> Envelope[MessageQueued]:
    message_id = f"msg_{number:032}"
    data = MessageQueued(
        message_id=message_id,
        recipient="ada@example.org",
        status="queued",
        tags=list(tags),
        metadata={},
        environment="live",
        from_="shop@example.com",
        subject="Grüße",
        priority="normal",
        channel="api",
        api_key_id="key_1",
        size=10,
        submission_id="sub_1",
        created_at=to_timestamp(time_ms),
    )
    return seal(
        data,
        record_id=event_id(message_id, 1),
        source="router",
        subject=message_id,
        time_ms=time_ms,
        project_id=project,
        sequence=1,
    )


def an_endpoint(
    endpoint_id: str = "whk_1",
    *,
    events: Sequence[str] = ("*",),
    tags: Sequence[str] = (),
    project: str = PROJECT,
    created_ms: int = NOW_MS - 1000,
    url: str = "https://example.com/hooks",
    sealed_secret: str = SECRET,
) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=endpoint_id,
        project_id=project,
        url=url,
        events=list(events),
        tags=list(tags),
        description=None,
        sealed_secret=sealed_secret,
        created_at=to_timestamp(created_ms),
    )
