"""A message as it stood at a time, and why it went as it did, on a real ClickHouse (R36)."""

import pytest

from chassis.clock import SystemClock
from schemas.envelope import to_ms, to_timestamp
from tests.integration.analytics.bench import Bench, Json
from tests.kit.history import OTHER_PROJECT, History

HOUR_MS = 3_600_000
STEPS = ("queued", "accepted", "deferred", "delivered")


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - HOUR_MS)


async def test_at_each_moment_it_is_what_the_tables_said_at_that_moment(bench: Bench, history: History) -> None:
    """Event by event into the tables, read each time; then asked for those times when all is over."""
    life = history.life(*STEPS, metadata={"order": "1042"})
    path, then = f"/v1/messages/{life[0].subject}", list[Json]()
    for event in life:
        await bench.insert_all(event)
        then.append(await bench.api.get(path))
    for event, was in zip(life, then, strict=True):
        found = await bench.api.get(path, as_of=event.time)
        assert found.pop("as_of") == event.time
        assert found == was
    between = await bench.api.get(path, as_of=to_timestamp(to_ms(life[2].time) - 1))
    assert (between["status"], len(between["timeline"])) == ("accepted", 2)


async def test_before_it_was_there_it_is_a_404(bench: Bench, history: History) -> None:
    life = history.life(*STEPS)
    await bench.insert_all(*life)
    path, before = f"/v1/messages/{life[0].subject}", to_timestamp(history.now_ms - HOUR_MS)
    for asked in (path, f"{path}/explain"):
        assert (await bench.api.call(asked, as_of=before))[0] == 404
        assert (await bench.api.call(asked, OTHER_PROJECT))[0] == 404
        status, body = await bench.api.call(asked, as_of="yesterday", until="now")
        assert (status, {error["field"] for error in body["errors"]}) == (422, {"as_of", "until"})
    assert (await bench.api.call("/v1/messages/msg_nobody/explain"))[0] == 404


async def test_an_explanation_has_a_decision_for_each_event(bench: Bench, history: History) -> None:
    life = history.life(*STEPS)
    await bench.insert_all(*life)
    path = f"/v1/messages/{life[0].subject}/explain"
    said = await bench.api.get(path)
    assert (said["object"], said["status"], said["waiting"]) == ("explanation", "delivered", None)
    assert list(dict.fromkeys(decision["event_id"] for decision in said["decisions"])) == [event.id for event in life]
    assert [decision["kind"] for decision in said["decisions"]] == [
        *("acceptance", "suppression", "route", "attempt", "attempt", "end"),
    ]
    then = await bench.api.get(path, as_of=life[2].time)
    assert (then["status"], then["waiting"]["reason"]) == ("deferred", "retry_ladder")
    assert then["waiting"]["next_attempt_at"] > life[2].time
    assert then["decisions"] == said["decisions"][: len(then["decisions"])]


async def test_of_a_message_just_accepted_it_says_that_it_is_next(bench: Bench, history: History) -> None:
    history.now_ms = SystemClock().now_ms()
    young = history.new_id()
    said = await bench.api.get(f"/v1/messages/{young.text}/explain")
    assert (said["status"], said["decisions"]) == ("queued", [])
    assert said["waiting"]["next_attempt_at"] == to_timestamp(young.created_at_ms)
