"""Messages that failed for good, on a real ClickHouse (R29)."""

from typing import Any

import pytest

from chassis.clock import SystemClock
from schemas.envelope import Envelope, seal, to_timestamp
from schemas.events import FeedbackDetail, MessageEvent, MessageExpired
from tests.integration.analytics.bench import Bench, Json, ids
from tests.kit.history import OTHER_PROJECT, History

HOUR_MS = 3_600_000
Event = Envelope[MessageEvent]


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - HOUR_MS)


def saying(event: Event, **data: Any) -> Event:
    """The same event, with other data."""
    return event.model_copy(update={"data": event.data.model_copy(update=data)})


def bounced(history: History, *, category: str = "invalid_recipient", **life: Any) -> list[Event]:
    *before, last = history.life("queued", "accepted", "bounced", **life)
    return [*before, saying(last, category=category)]


def expired(history: History, **life: Any) -> list[Event]:
    *before, last = history.life("queued", "accepted", "held", **life)
    data = MessageExpired.model_validate(last.data.model_dump() | {"status": "expired", "reason": "deliver_before"})
    record = {"record_id": last.id, "source": "router", "subject": last.subject, "project_id": last.project_id}
    return [*before, seal(data, time_ms=history.now_ms, sequence=3, **record)]


async def letters(bench: Bench, **query: str) -> list[str]:
    return ids((await bench.api.get("/v1/dead-letters", **query))["data"])


async def test_what_failed_is_shown_with_why(bench: Bench, history: History) -> None:
    queued, accepted, last = history.life("queued", "accepted", "bounced", tags=("b", "a"))
    last = saying(last, attempt=last.data.attempt.model_copy(update={"mx_host": "mx.example.org"}))  # type: ignore[attr-defined]
    await bench.insert_all(saying(queued, template="otp-code"), accepted, last, *history.life("queued", "delivered"))
    (letter,) = (await bench.api.get("/v1/dead-letters"))["data"]
    assert letter == {
        "message_id": last.subject,
        "recipient": "ada@example.org",
        "environment": "live",
        "category": "invalid_recipient",
        "code": 550,
        "enhanced_code": "5.1.1",
        "reply": "550 5.1.1 said so",
        "path": "main",
        "mx_host": "mx.example.org",
        "template": "otp-code",
        "tags": ["a", "b"],
        "attempts": 1,
        "created_at": (await bench.api.get(f"/v1/messages/{last.subject}"))["created_at"],
        "failed_at": last.time,
        "cause": "refused",
        "redriven_as": [],
    }
    assert await bench.api.get(f"/v1/dead-letters/{last.subject}") == letter
    assert (await bench.api.call(f"/v1/dead-letters/{last.subject}", OTHER_PROJECT))[0] == 404
    assert (await bench.api.get("/v1/dead-letters", OTHER_PROJECT))["data"] == []


async def test_every_way_to_fail_and_none_that_was_meant(bench: Bench, history: History) -> None:
    """A bounce that came later counts as one at once; what was suppressed or waits is no failure."""
    tried = history.life("queued", "accepted", "deferred", "bounced")
    late = history.life("queued", "accepted", "delivered", "bounced")
    feedback = FeedbackDetail(kind="bounce", received_at=late[-1].time)
    found = {
        "refused": bounced(history),
        "last_attempt": [*tried[:3], saying(tried[3], gave_up="last_attempt")],
        "feedback": [*late[:3], saying(late[3], feedback=feedback)],
        "expired": expired(history),
    }
    await bench.insert_all(*(event for life in found.values() for event in life))
    await bench.insert_all(*history.life("queued", "suppressed"), *history.life("queued", "accepted", "deferred"))
    shown = (await bench.api.get("/v1/dead-letters"))["data"]
    assert {letter["message_id"]: letter["cause"] for letter in shown} == {
        life[0].subject: cause for cause, life in found.items()
    }
    assert {letter["cause"]: letter["attempts"] for letter in shown} == {
        "refused": 1, "last_attempt": 2, "feedback": 2, "expired": 0
    }  # fmt: skip
    assert {letter["category"] for letter in shown if letter["cause"] == "expired"} == {None}


async def test_an_event_that_comes_twice_changes_nothing_and_a_correction_takes_it_out(
    bench: Bench, history: History
) -> None:
    """In whatever order they are inserted, merged or not: `sequence` decides."""
    life = history.life("queued", "accepted", "deferred", "bounced", "delivered")
    bench.append(life[3], life[0], life[3])
    (place,) = bench.log
    await bench.insert(place)
    assert await letters(bench) == [life[0].subject]
    await bench.insert_all(life[4], life[3])
    assert await letters(bench) == []
    bench.database.command("SYSTEM START MERGES dead_letters")
    bench.database.command("OPTIMIZE TABLE dead_letters FINAL")
    assert await letters(bench) == []
    assert (await bench.api.call(f"/v1/dead-letters/{life[0].subject}"))[0] == 404


async def test_what_it_was_sent_again_as(bench: Bench, history: History) -> None:
    """Whichever comes first: the new message's event, or the end of the old one."""
    failed = bounced(history)
    queued, *rest = history.life("queued", "accepted")
    again = [saying(queued, redrive_of=failed[0].subject), *rest]
    await bench.insert_all(*again)
    assert await letters(bench) == []
    await bench.insert_all(*failed, *again)
    (letter,) = (await bench.api.get("/v1/dead-letters"))["data"]
    assert letter["redriven_as"] == [queued.subject]
    assert await letters(bench, redriven="true") == [failed[0].subject]
    assert await letters(bench, redriven="false") == []


async def test_filters_and_pages(bench: Bench, history: History) -> None:
    lives = [
        bounced(history, recipient=f"ada@{'one' if number % 2 else 'two'}.example", tags=(f"t{number % 3}",))
        for number in range(12)
    ]
    late = bounced(history, category="mailbox_full", recipient="bob@one.example")
    await bench.insert_all(*(event for life in lives for event in life), *late)
    newest_first = [life[0].subject for life in [*lives, late]][::-1]
    assert ids(await bench.api.pages("/v1/dead-letters", limits=[1, 3, 5, 100])) == newest_first
    assert await letters(bench, category="mailbox_full") == [late[0].subject]
    ones = [life[0].subject for number, life in enumerate(lives) if number % 2][::-1]
    assert await letters(bench, recipient_domain="ONE.example", category="invalid_recipient") == ones
    assert await letters(bench, tag="t2") == [life[0].subject for life in lives[2::3]][::-1]
    by_path = await bench.api.get("/v1/dead-letters?path=main", since=late[-1].time)
    assert ids(by_path["data"]) == [late[0].subject]
    assert await letters(bench, until=lives[1][-1].time) == [lives[0][0].subject]
    assert await letters(bench, environment="test") == []
    assert await letters(bench, message_ids=f"{ones[0]},msg_0,{ones[2]}") == [ones[0], ones[2]]
    status, answer = await bench.api.call("/v1/dead-letters", color="red", category="sad", redriven="maybe")
    assert status == 422
    assert {(fault["field"], fault["code"]) for fault in answer["errors"]} == {
        ("color", "unsupported_field"), ("category", "invalid_value"), ("redriven", "invalid_value")
    }  # fmt: skip


async def test_by_template(bench: Bench, history: History) -> None:
    queued, *rest = bounced(history)
    await bench.insert_all(saying(queued, template="otp"), *rest, *bounced(history))
    assert await letters(bench, template="otp") == [queued.subject]
    assert await letters(bench, template="other") == []


async def test_groups_by_cause_the_largest_first(bench: Bench, history: History) -> None:
    several = [bounced(history, recipient="a@one.example") for _ in range(3)]
    full = bounced(history, category="mailbox_full", recipient="b@two.example")
    await bench.insert_all(*(event for life in [*several, full] for event in life))
    groups: list[Json] = (await bench.api.get("/v1/dead-letters/groups"))["data"]
    assert [group["messages"] for group in groups] == [3, 1]
    assert groups[0] == {
        "cause": {"category": "invalid_recipient", "enhanced_code": "5.1.1", "recipient_domain": "one.example"},
        "messages": 3,
        "first_at": several[0][-1].time,
        "last_at": several[2][-1].time,
        "sample": {"message_id": several[2][0].subject, "reply": "550 5.1.1 said so"},
    }
    (one,) = (await bench.api.get("/v1/dead-letters/groups", category="mailbox_full"))["data"]
    assert one["cause"]["recipient_domain"] == "two.example"
    later = to_timestamp(SystemClock().now_ms())
    assert (await bench.api.get("/v1/dead-letters/groups", since=later))["data"] == []
