"""The events feed on a real ClickHouse: all of it, once, in order, while it grows (R35)."""

import asyncio
import random
from collections import defaultdict

import orjson
import pytest

from chassis.clock import SystemClock
from schemas.envelope import encode
from services.analytics.adapters import feed_reads
from tests.integration.analytics.bench import Bench, Json
from tests.kit.history import OTHER_PROJECT, History


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - 3_600_000)


async def test_the_feed_holds_messages_and_account_as_they_stand_in_kafka_R35(bench: Bench, history: History) -> None:
    life, added = history.life("queued", "accepted", "delivered"), history.suppression("bob@example.org")
    await bench.insert_all(*life, added, history.webhook_attempt("whk_1", 1))
    page = await bench.api.get("/v1/events")
    assert [orjson.dumps(event) for event in page["data"]] == [encode(event) for event in (*life, added)]
    assert (page["has_more"], page["object"]) == (False, "list")
    only = await bench.api.get("/v1/events", types="suppression.added,message.delivered")
    assert [event["type"] for event in only["data"]] == ["message.delivered", "suppression.added"]


async def test_the_end_of_the_feed_has_a_cursor_that_waits(bench: Bench, history: History) -> None:
    empty = await bench.api.get("/v1/events")
    assert (empty["data"], empty["has_more"]) == ([], False)
    await bench.insert_all(*history.life("queued"))
    page = await bench.api.get("/v1/events", after=empty["next_cursor"])
    assert len(page["data"]) == 1
    again = await bench.api.get("/v1/events", after=page["next_cursor"])
    assert (again["data"], again["next_cursor"]) == ([], page["next_cursor"])


@pytest.mark.parametrize("window", [3, 5_000])
async def test_a_follower_misses_nothing_and_sees_nothing_twice(
    bench: Bench, history: History, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions are inserted in any order, one far behind, while the feed is followed; events are emitted again, too."""
    monkeypatch.setattr(feed_reads, "_WINDOW", window)
    chance = random.Random(11)
    other = History(history.now_ms, seed=2, project_id=OTHER_PROJECT)
    for _ in range(60):
        life = history.life(*["queued", "accepted", "deferred", "delivered"][: chance.randint(1, 4)])
        bench.append(*life, *other.life("queued"))
        if chance.random() < 0.2:
            bench.append(*life[:2])
    expected = {
        record.value for records in bench.log.values() for record, e in records if e.project_id == history.project_id
    }
    done = asyncio.Event()

    async def insert() -> None:
        places = sorted(bench.log)
        late = places.pop()
        while any(bench.inserted[place] < len(bench.log[place]) for place in places):
            await bench.insert(chance.choice(places), chance.randint(1, 9))
        await bench.insert(late)
        done.set()

    async def follow() -> list[Json]:
        seen: list[Json] = []
        cursor: dict[str, str] = {}
        while True:
            last_round = done.is_set()
            page = await bench.api.get("/v1/events", limit=chance.randint(1, 20), **cursor)
            seen += page["data"]
            cursor = {"after": page["next_cursor"]}
            if last_round and not page["has_more"]:
                return seen

    seen, _ = await asyncio.gather(follow(), insert())
    assert len(seen) == len(expected)
    assert {orjson.dumps(event) for event in seen} == expected
    sequences = defaultdict(list)
    for event in seen:
        sequences[event["subject"]].append(event["sequence"])
    assert all(found == list(range(1, len(found) + 1)) for found in sequences.values())


async def test_what_lies_far_behind_the_window_is_found(
    bench: Bench, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_reads, "_WINDOW", 2)
    other = History(history.now_ms, seed=2, project_id=OTHER_PROJECT, partitions=1)
    history.partitions = 1
    bench.append(*(event for _ in range(20) for event in other.life("queued")))
    life = history.life("queued", "accepted")
    bench.append(*life)
    await bench.insert_all()
    assert len((await bench.api.get("/v1/events", limit=1))["data"]) == 1
    assert len(await bench.api.pages("/v1/events", limits=iter([1, 1]))) == 2
