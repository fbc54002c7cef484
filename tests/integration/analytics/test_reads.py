"""What the read API answers, on a real ClickHouse (R30, R35)."""

import random
from collections.abc import Callable

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.clock import SystemClock
from schemas.envelope import encode, to_timestamp
from schemas.webhooks import AttemptOutcome
from tests.integration.analytics.bench import TABLES, Api, Bench, Json, ids
from tests.kit.history import OTHER_PROJECT, History

HOUR_MS = 3_600_000


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - HOUR_MS)


async def test_one_message_with_its_timeline_byte_for_byte_R30(bench: Bench, history: History) -> None:
    life = history.life("queued", "accepted", "deferred", "delivered", metadata={"order": "1042"})
    await bench.insert_all(*life)
    body = await bench.api.get(f"/v1/messages/{life[0].subject}")
    timeline = body.pop("timeline")
    assert [orjson.dumps(event) for event in timeline] == [encode(event) for event in life]
    created_at = orjson.loads(encode(life[0]))["data"]["created_at"]
    assert body == {
        "message_id": life[0].subject,
        "status": "delivered",
        "recipient": "ada@example.org",
        "from": "Shop <hello@example.com>",
        "subject": "Your code",
        "tags": ["otp"],
        "metadata": {"order": "1042"},
        "template": None,
        "channel": "api",
        "path": "main",
        "environment": "live",
        "created_at": created_at,
        "updated_at": life[-1].time,
        "scheduled_time": None,
        "attempts": 2,
        "next_attempt_at": None,
        "reason": None,
        "outcome": {
            "code": 250, "enhanced_code": "2.0.0", "category": "delivered", "reply": "250 2.0.0 said so",
        },
    }  # fmt: skip
    (listed,) = (await bench.api.get("/v1/messages"))["data"]
    assert listed == body


async def test_a_waiting_message_says_why_and_until_when(bench: Bench, history: History) -> None:
    life = history.life("queued", "accepted", "deferred")
    await bench.insert_all(*life)
    body = await bench.api.get(f"/v1/messages/{life[0].subject}")
    assert (body["status"], body["reason"], body["attempts"]) == ("deferred", "retry_ladder", 1)
    assert body["next_attempt_at"] == to_timestamp(history.now_ms + 30_000)
    assert body["outcome"]["category"] == "transient"


async def test_events_that_arrive_in_any_order_and_twice_make_the_same_message(bench: Bench, history: History) -> None:
    """Re-emission repeats old events behind new ones: `sequence` decides, not arrival (R30)."""
    life = history.life("queued", "accepted", "deferred", "bounced")
    bench.append(life[2], life[0], life[3], life[1], life[0], life[2])
    (place,) = bench.log
    for _ in range(6):
        await bench.insert(place, 1)
    body = await bench.api.get(f"/v1/messages/{life[0].subject}")
    assert [event["sequence"] for event in body["timeline"]] == [1, 2, 3, 4]
    assert (body["status"], body["subject"], body["outcome"]["code"]) == ("bounced", "Your code", 550)
    assert len((await bench.api.get("/v1/messages"))["data"]) == 1


async def test_each_event_in_an_insert_of_its_own_is_read_as_one_message_merged_or_not(
    bench: Bench, history: History
) -> None:
    """The state is the latest event's at every step, and a merge changes no answer (R30)."""
    steps = ("queued", "accepted", "deferred", "delivered")
    life = history.life(*steps)
    bench.append(*life)
    (place,) = bench.log

    async def answers() -> list[object]:
        message = await bench.api.get(f"/v1/messages/{life[0].subject}")
        listed = {status: ids((await bench.api.get("/v1/messages", status=status))["data"]) for status in steps}
        return [message, listed, await bench.api.get("/v1/messages", subject="code"), await bench.api.get("/v1/events")]

    for number, status in enumerate(steps, start=1):
        await bench.insert(place, 1)
        message, listed, by_subject, feed = await answers()
        assert isinstance(message, dict)
        assert (message["status"], message["updated_at"]) == (status, life[number - 1].time)
        assert [event["sequence"] for event in message["timeline"]] == list(range(1, number + 1))
        assert listed == {step: [life[0].subject] if step == status else [] for step in steps}
        assert isinstance(by_subject, dict)
        assert [found["status"] for found in by_subject["data"]] == [status]
        assert isinstance(feed, dict)
        assert len(feed["data"]) == number
    assert bench.database.rows("SELECT count() FROM messages") == [(4,)]
    before = await answers()
    for table in TABLES:
        bench.database.command(f"SYSTEM START MERGES {table}")
        bench.database.command(f"OPTIMIZE TABLE {table} FINAL")
    assert bench.database.rows("SELECT count() FROM messages") == [(1,)]
    assert await answers() == before


async def test_a_message_just_accepted_is_never_a_404_R30(bench: Bench, history: History) -> None:
    history.now_ms = SystemClock().now_ms()
    fresh = history.new_id()
    assert await bench.api.get(f"/v1/messages/{fresh.text}") == {
        "message_id": fresh.text,
        "status": "queued",
        "created_at": to_timestamp(fresh.created_at_ms),
        "pending": True,
    }


async def test_unknown_ids_are_404(bench: Bench, history: History) -> None:
    now = SystemClock().now_ms()
    history.now_ms = now - 25 * HOUR_MS
    old = history.new_id().text
    history.now_ms = now + HOUR_MS
    ahead = history.new_id().text
    for unknown in (old, ahead, "msg_1", "evt_1", "%00", "msg_" + "Z" * 32):
        status, body = await bench.api.call(f"/v1/messages/{unknown}")
        assert (status, body["error"]["code"]) == (404, "not_found"), unknown


async def test_another_projects_mail_is_not_there(bench: Bench, history: History) -> None:
    life = history.life("queued", "accepted", "delivered")
    await bench.insert_all(*life, history.suppression("a@example.org"), history.webhook_attempt("whk_1", 1))
    status, _ = await bench.api.call(f"/v1/messages/{life[0].subject}", project=OTHER_PROJECT)
    assert status == 404
    for path in ("/v1/messages", "/v1/events", "/v1/webhooks/whk_1/attempts"):
        assert len((await bench.api.get(path))["data"]) > 0
        assert (await bench.api.get(path, project=OTHER_PROJECT))["data"] == []


async def test_only_what_ingest_has_signed_is_answered(bench: Bench) -> None:
    headers: list[dict[str, str]] = [
        {},
        {"X-Sendarix-Principal": "e30.AAAA"},
        Api.signed("prj_1", secret=b"another"),
        Api.signed("prj_1", lasts_ms=-1),
    ]
    for path in ("/v1/messages", "/v1/messages/msg_1", "/v1/events", "/v1/webhooks/whk_1/attempts"):
        for given_headers in headers:
            status, body = await bench.api.raw(path, given_headers)
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")


async def test_each_filter_finds_what_it_says_R30(bench: Bench, history: History) -> None:
    quoted = "it's \\ 100% {x:String}\t\u00fc"
    first = history.life("queued", "accepted", "delivered", recipient="Ada@Example.org", tags=["otp", quoted])
    second = history.life("queued", "accepted", "deferred", recipient="bob@example.net", metadata={"order": quoted})
    third = history.life("queued", sender="News <news@example.com>", subject="The weekly NEWS", tags=[])
    await bench.insert_all(*first, *second, *third)
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({"status": "delivered"}, [first[0].subject]),
        ({"status": "queued"}, [third[0].subject]),
        ({"status": "bounced"}, []),
        ({"recipient": "ADA@example.org"}, [first[0].subject, third[0].subject][:1]),
        ({"recipient_domain": "EXAMPLE.net"}, [second[0].subject]),
        ({"from": "news@example.com"}, [third[0].subject]),
        ({"subject": "weekly news"}, [third[0].subject]),
        ({"tag": quoted}, [first[0].subject]),
        ({"tag": "otp"}, [second[0].subject, first[0].subject]),
        ({"metadata[order]": quoted}, [second[0].subject]),
        ({"metadata[other]": quoted}, []),
        ({"status": "deferred", "tag": "otp", "metadata[order]": quoted}, [second[0].subject]),
        ({"status": "delivered", "metadata[order]": quoted}, []),
        ({"subject": "code", "recipient_domain": "example.org"}, [first[0].subject]),
    ]
    for params, found in expected:
        page = await bench.api.get("/v1/messages", **params)
        if params.get("recipient"):
            assert first[0].subject in ids(page["data"])
            assert second[0].subject not in ids(page["data"])
        else:
            assert ids(page["data"]) == found, params


async def test_since_and_until_are_bounds_of_acceptance(bench: Bench, history: History) -> None:
    lives = [history.life("queued") for _ in range(3)]
    await bench.insert_all(*(event for life in lives for event in life))
    moments = [orjson.loads(encode(life[0]))["data"]["created_at"] for life in lives]
    page = await bench.api.get("/v1/messages", since=moments[1])
    assert ids(page["data"]) == [lives[2][0].subject, lives[1][0].subject]
    page = await bench.api.get("/v1/messages", since=moments[0], until=moments[1])
    assert ids(page["data"]) == [lives[0][0].subject]


async def test_walking_the_pages_meets_each_message_once_R30(bench: Bench, history: History) -> None:
    chance = random.Random(7)
    lives = [
        history.life(*["queued", "accepted", "deferred", "delivered"][: chance.randint(1, 4)], tags=[f"t{n % 3}"])
        for n in range(120)
    ]
    for part in range(0, 120, 40):  # several parts, none of them merged
        await bench.insert_all(*(event for life in lives[part : part + 40] for event in life))
    newest_first = [life[0].subject for life in reversed(lives)]
    wanted: list[tuple[dict[str, str], Callable[[int], bool]]] = [
        ({}, lambda _: True),
        ({"tag": "t1"}, lambda n: n % 3 == 1),
        ({"status": "deferred"}, lambda n: len(lives[n]) == 3),
        ({"status": "queued", "tag": "t2"}, lambda n: len(lives[n]) == 1 and n % 3 == 2),
        ({"subject": "CODE"}, lambda _: True),
    ]
    for params, matches in wanted:
        limits = iter(lambda: chance.randint(1, 30), None)
        found = await bench.api.pages("/v1/messages", limits=limits, **params)
        assert ids(found) == [m for n, m in zip(range(119, -1, -1), newest_first, strict=True) if matches(n)], params


async def test_messages_that_arrive_while_one_walks_do_not_disturb(bench: Bench, history: History) -> None:
    old = [history.life("queued") for _ in range(10)]
    await bench.insert_all(*(event for life in old for event in life))
    first = await bench.api.get("/v1/messages", limit=4)
    await bench.insert_all(*(event for _ in range(5) for event in history.life("queued", "accepted")))
    rest = await bench.api.pages("/v1/messages", limits=[4, 4], after=first["next_cursor"])
    assert ids(first["data"]) + ids(rest) == [life[0].subject for life in reversed(old)]


async def test_bad_parameters_are_a_422_in_the_error_shape_R30(bench: Bench) -> None:
    wrong = {"limit": "0", "status": "done", "error_category": "bad", "channel": "post", "order": "x"}
    status, body = await bench.api.call("/v1/messages", **wrong)
    assert (status, body["error"]["code"]) == (422, "validation_error")
    assert {error["field"] for error in body["errors"]} == set(wrong)
    assert body["request_id"].startswith("req_")
    status, body = await bench.api.call("/v1/messages", order="x")
    assert (status, body["error"]["code"]) == (422, "unsupported_field")
    status, _ = await bench.api.call("/v1/events", after="junk")
    assert status == 422
    status, _ = await bench.api.call("/v1/messages/msg_1", verbose="1")
    assert status == 422


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=40))
async def test_any_text_is_bound_never_run(bench: Bench, text: str) -> None:
    """Values reach ClickHouse as values: whatever stands in them, the answer is an empty list (R28 in spirit)."""
    for name in ("recipient", "recipient_domain", "from", "subject", "tag", "template", "path", f"metadata[{text}]"):
        status, body = await bench.api.call("/v1/messages", **{name: text})
        assert status in (200, 422), body
        if status == 200:
            assert body["data"] == []


async def test_attempts_of_an_endpoint_newest_first_D102(bench: Bench, history: History) -> None:
    attempts = [history.webhook_attempt("whk_1", n) for n in range(30)]
    others = [history.webhook_attempt("whk_2", n) for n in range(3)]
    await bench.insert_all(*attempts, *others)
    await bench.ingest.handle(bench.batch(("webhook-attempts", 0), 3, 20))  # cut anew: no row may show twice
    found = await bench.api.pages("/v1/webhooks/whk_1/attempts", limits=iter([7, 1, 100]))
    assert found == [orjson.loads(encode(attempt))["data"] for attempt in reversed(attempts)]
    status, _ = await bench.api.call("/v1/webhooks/whk_1/attempts", limit=500)
    assert status == 422


async def test_attempts_by_what_came_of_them_and_by_event_R31(bench: Bench, history: History) -> None:
    outcomes: tuple[AttemptOutcome, ...] = ("succeeded", "failed", "exhausted", "succeeded")
    made = [
        history.webhook_attempt("whk_1", n, outcome=outcome, event_id=f"evt_{n % 2}")
        for n, outcome in enumerate(outcomes)
    ]
    await bench.insert_all(*made)

    async def asked(**filters: str) -> list[Json]:
        return await bench.api.pages("/v1/webhooks/whk_1/attempts", limits=iter(lambda: 1, None), **filters)

    newest_first = [orjson.loads(encode(attempt))["data"] for attempt in reversed(made)]
    assert await asked(status="succeeded") == [newest_first[0], newest_first[3]]
    assert await asked(status="failed") == newest_first[1:3]
    assert await asked(event_id="evt_0") == [newest_first[1], newest_first[3]]
    assert await asked(event_id="evt_1", status="failed") == [newest_first[2]]
    cursor = (await bench.api.get("/v1/webhooks/whk_1/attempts", limit=1, status="failed"))["next_cursor"]
    for other in ({"status": "open"}, {"event_id": ""}, {"after": cursor}):
        assert (await bench.api.call("/v1/webhooks/whk_1/attempts", **other))[0] == 422
