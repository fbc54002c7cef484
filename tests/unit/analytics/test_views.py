"""The objects of the API, from what the read side knows (R30)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from services.analytics.domain.messages import Message, message_view, message_with_timeline

EXAMPLES = Path("schemas/examples")
AT = 1_790_064_000_000
KNOWN = Message(
    message_id="msg_1",
    sequence=2,
    status="scheduled",
    recipient="ada@example.org",
    sender="Shop <hello@shop.example>",
    subject="Hello",
    tags=["otp"],
    metadata={},
    created_at=AT - 60_000,
    updated_at=AT - 60_000,
    attempts=0,
    next_attempt_at=AT,
    reason="scheduled",
    outcome=None,
    template="tpl_1",
    channel="api",
    environment="live",
    path="",
)


def test_a_scheduled_message_says_when_in_a_list_too() -> None:
    assert message_view(KNOWN)["scheduled_time"] == "2026-09-22T08:00:00.000Z"


def test_the_time_it_was_moved_to_last_stays_when_it_is_over() -> None:
    timeline = [event("message.queued/one"), event("message.scheduled/tomorrow"), moved("2026-09-23T08:00:00.000Z")]
    over = replace(KNOWN, status="delivered", next_attempt_at=0, reason="")
    shown: dict[str, Any] = message_with_timeline(over, timeline)
    assert shown["scheduled_time"] == "2026-09-23T08:00:00.000Z"
    assert message_view(over)["scheduled_time"] is None, "a list has no timeline to know it from"


def test_who_was_never_scheduled_has_no_such_time() -> None:
    shown = message_with_timeline(replace(KNOWN, status="queued"), [event("message.queued/one")])
    assert shown["scheduled_time"] is None


def event(example: str) -> str:
    return orjson.dumps(orjson.loads((EXAMPLES / f"{example}.json").read_bytes())).decode()


def moved(time: str) -> str:
    document = orjson.loads((EXAMPLES / "message.rescheduled" / "later.json").read_bytes())
    document["data"]["scheduled_time"] = time
    return orjson.dumps(document).decode()
