"""The feed as a stream, on a real ClickHouse: all of it, once, in order, at once, and from where a client left off (R35)."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from chassis.clock import SystemClock
from chassis.service import Crash
from chassis.streaming import EVENT_STREAM
from schemas.envelope import encode
from services.analytics.api import events
from services.analytics.arrivals import Arrivals
from tests.integration.analytics.bench import Bench, Json
from tests.kit.event_stream import EventReader, Sent
from tests.kit.history import OTHER_PROJECT, PROJECT, History
from tests.kit.waiting import until


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - 3_600_000)


@asynccontextmanager
async def streaming(
    bench: Bench, *, last_id: str = "", project: str = PROJECT, **params: str
) -> AsyncIterator[EventReader]:
    headers = {**bench.api.signed(project), "Accept": EVENT_STREAM}
    if last_id:
        headers["Last-Event-ID"] = last_id
    async with bench.api.session.get(f"{bench.api.url}/v1/events", headers=headers, params=params) as response:
        assert (response.status, response.content_type) == (200, EVENT_STREAM), await response.text()
        yield EventReader(response.content)


async def test_the_stream_is_the_feed_and_goes_on_R35(bench: Bench, history: History) -> None:
    life, added = history.life("queued", "accepted", "delivered"), history.suppression("bob@example.org")
    await bench.insert_all(*life, added)
    async with streaming(bench) as reader:
        past = await reader.take(4)
        assert [(sent.data.encode(), sent.kind) for sent in past] == [(encode(e), e.type) for e in (*life, added)]
        assert reader.retry_ms == 2000
        later = history.life("queued", "accepted")
        await bench.insert_all(*later)
        assert [sent.event for sent in await reader.take(2, within=5)] == [orjson.loads(encode(e)) for e in later]
    async with streaming(bench, types="suppression.added") as only:
        assert [sent.kind for sent in await only.take(1)] == ["suppression.added"]


async def test_an_event_is_in_the_stream_within_a_second_of_its_insert(bench: Bench, history: History) -> None:
    """And only who follows its project is woken."""
    other = History(history.now_ms, seed=2, project_id=OTHER_PROJECT)
    async with streaming(bench, after="now") as reader, streaming(bench, after="now", project=OTHER_PROJECT) as others:
        for _ in range(3):
            bench.append(*history.life("queued"))
            await bench.insert_all()
            async with asyncio.timeout(1):
                assert (await reader.take(1))[0].kind == "message.queued"
        await bench.insert_all(*other.life("queued"))
        assert len(await others.take(1)) == 1


async def test_from_now_on_passes_over_what_is_there_and_loses_nothing_R35(bench: Bench, history: History) -> None:
    """As a page, and as a stream that is lost before its first event."""
    await bench.insert_all(*history.life("queued", "accepted"))
    page = await bench.api.get("/v1/events", after="now")
    assert (page["data"], page["has_more"]) == ([], False)
    async with streaming(bench, after="now") as reader:
        waiting = asyncio.create_task(reader.next())
        await until(lambda: reader.last_id)
        waiting.cancel()
    later = history.life("queued", "accepted", "delivered")
    await bench.insert_all(*later)
    expected = [encode(event) for event in later]
    async with streaming(bench, after="now", last_id=reader.last_id) as again:
        assert [sent.data.encode() for sent in await again.take(3)] == expected
    page = await bench.api.get("/v1/events", after=page["next_cursor"])
    assert [orjson.dumps(event) for event in page["data"]] == expected


async def test_a_stream_that_breaks_anywhere_misses_nothing_and_sees_nothing_twice_R35(
    bench: Bench, history: History
) -> None:
    """Broken off after any event, taken up by its id, while partitions are inserted in any order and events come again."""
    chance = random.Random(11)
    other = History(history.now_ms, seed=2, project_id=OTHER_PROJECT)
    for _ in range(30):
        life = history.life(*["queued", "accepted", "deferred", "delivered"][: chance.randint(1, 4)])
        bench.append(*life, *other.life("queued"))
        if chance.random() < 0.2:
            bench.append(*life[:2])
    expected = {
        record.value for records in bench.log.values() for record, e in records if e.project_id == history.project_id
    }

    async def insert() -> None:
        places = sorted(bench.log)
        while any(bench.inserted[place] < len(bench.log[place]) for place in places):
            await bench.insert(chance.choice(places), chance.randint(1, 9))

    async def follow() -> list[Sent]:
        seen: list[Sent] = []
        while len(seen) < len(expected):
            async with streaming(bench, last_id=seen[-1].id if seen else "") as reader:
                seen += await reader.take(min(chance.randint(1, 40), len(expected) - len(seen)))
        return seen

    seen, _ = await asyncio.gather(follow(), insert())
    assert len(seen) == len(expected)
    assert {sent.data.encode() for sent in seen} == expected
    sequences: defaultdict[str, list[int]] = defaultdict(list)
    for sent in seen:
        sequences[sent.event["subject"]].append(sent.event["sequence"])
    assert all(found == list(range(1, len(found) + 1)) for found in sequences.values())
    feed: list[Json] = await bench.api.pages("/v1/events", limits=iter(lambda: 50, None))
    assert {event["id"] for event in feed} == {sent.event["id"] for sent in seen}


async def test_an_idle_stream_asks_nothing_and_beats(
    bench: Bench, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    asked: list[str] = []
    async with streaming(bench, after="now") as reader:
        waiting = asyncio.create_task(reader.next())
        await until(lambda: reader.comments > 0)
        ask = bench.feed._questions.ask

        async def noted(name: str, *rest: Any) -> list[tuple[Any, ...]]:
            asked.append(name)
            return await ask(name, *rest)

        monkeypatch.setattr(bench.feed._questions, "ask", noted)
        beats = reader.comments
        await until(lambda: reader.comments > beats + 4)
        assert asked == []
        await bench.insert_all(*History(history.now_ms, project_id=OTHER_PROJECT).life("queued"))
        beats = reader.comments
        await until(lambda: reader.comments > beats + 1)
        assert asked == []  # another project's events wake nobody here
        await bench.insert_all(*history.life("queued"))
        assert (await waiting) is not None


async def test_what_another_replica_inserts_is_seen(bench: Bench, history: History) -> None:
    """Nobody tells of it: one look a moment finds it."""
    watching = Arrivals(SystemClock(), Crash(), bench.feed)
    follower = watching.follow(PROJECT)
    await watching.start()
    try:
        bench.ingest._arrived = lambda _: None
        await bench.insert_all(*History(history.now_ms, project_id=OTHER_PROJECT).life("queued"))
        assert not await follower.more_within(1)
        await bench.insert_all(*history.life("queued"))
        assert await follower.more_within(2)
    finally:
        watching.leave(follower)
        await watching.stop()


async def test_streams_end_with_the_service_and_where_the_store_is_away(bench: Bench, history: History) -> None:
    async with streaming(bench, after="now") as reader:
        await until(lambda: len(bench.arrivals._followers) == 1)
        bench.store._client = None
        bench.arrivals.of([PROJECT])
        assert await reader.rest() == []
    await until(lambda: not bench.arrivals._followers)


async def test_the_shutdown_ends_a_stream(bench: Bench) -> None:
    async with streaming(bench, after="now") as reader:
        await bench.arrivals.stop()
        assert await reader.rest(within=2) == []


async def test_bad_parameters(bench: Bench) -> None:
    for params, last_id, field, code in [
        ({"after": "x"}, "", "after", "invalid_cursor"),
        ({}, "x", "after", "invalid_cursor"),
        ({"types": "message.opened"}, "", "types", "invalid_value"),
        ({"limit": "5"}, "", "limit", "unsupported_field"),
    ]:
        headers = {**bench.api.signed(PROJECT), "Accept": EVENT_STREAM, "Last-Event-ID": last_id}
        status, body = await bench.api.raw("/v1/events", headers, params)
        assert (status, [(fault["field"], fault["code"]) for fault in body["errors"]]) == (422, [(field, code)])
