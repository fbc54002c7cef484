"""Exactly once in effect: whatever is inserted again, cut anew or replayed, the answers stay (R39, D101, D102)."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.failures import Retry
from schemas.envelope import Envelope, MalformedRecord, encode, to_ms, to_timestamp
from schemas.events import MESSAGE_EVENTS, MessageEvent
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.adapters.schema import MIGRATIONS
from services.analytics.domain.metrics import COUNTS
from services.analytics.domain.rows import EventRow, Position, event_row
from services.analytics.ports import StoreUnavailable
from tests.integration.analytics.bench import Bench, Json, built
from tests.kit.clickhouse import Database, new_database
from tests.kit.history import History

HOUR_MS = 3_600_000
COUNTED = "SELECT happened, uniqExact(message) FROM metric_events GROUP BY happened ORDER BY happened"
RAW = "SELECT count() FROM events_raw FINAL"


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - HOUR_MS)


def many(history: History, count: int) -> list[Envelope[MessageEvent]]:
    chance = random.Random(3)
    steps = ["queued", "accepted", "deferred", "delivered"]
    lives = [
        history.life(*steps[: chance.randint(1, 4)], recipient=f"u{n}@d{n % 3}.example", tags=["a", f"t{n % 2}"])
        for n in range(count)
    ]
    return [event for life in lives for event in life]


def expected_counts(events: list[Envelope[MessageEvent]]) -> list[tuple[int, int]]:
    """Messages by what happened to them, which has a bit each."""
    happened = {(1 << COUNTS.index(event.type.removeprefix("message.")), event.subject) for event in events}
    return sorted(Counter(bit for bit, _ in happened).items())


async def answers(bench: Bench) -> list[Json]:
    """Everything the API says: all lists, all messages."""
    listed = await bench.api.pages("/v1/messages", limits=iter(lambda: 100, None))
    feed = await bench.api.pages("/v1/events", limits=iter(lambda: 100, None))
    attempts = await bench.api.pages("/v1/webhooks/whk_1/attempts", limits=iter(lambda: 100, None))
    whole = [await bench.api.get(f"/v1/messages/{message['message_id']}") for message in listed[:10]]
    return [*listed, *feed, *attempts, *whole]


async def test_the_same_batch_twice_changes_nothing_D101(bench: Bench, history: History) -> None:
    """An insert whose answer was lost is repeated: its rows stand there twice until they are merged, and show once."""
    events = many(history, 30)
    await bench.insert_all(*events)
    before = await answers(bench)
    for place, records in bench.log.items():
        await bench.ingest.handle(bench.batch(place, 0, len(records) - 1))
    assert bench.database.rows("SELECT count() FROM events_raw") == [(2 * len(events),)]
    assert bench.database.rows(RAW) == [(len(events),)]
    assert bench.database.rows(COUNTED) == expected_counts(events)
    assert await answers(bench) == before


async def test_an_insert_that_reached_one_table_alone_is_mended_by_its_repetition_D101(
    bench: Bench, history: History
) -> None:
    """Raw rows are there before their views have seen them: the repetition must reach what stands behind the views."""
    events = many(history, 10)
    bench.database.command("RENAME TABLE metric_events_from_events TO away", "DETACH TABLE away")
    try:
        await bench.insert_all(*events)
        assert bench.database.rows(COUNTED) == []
    finally:
        bench.database.command("ATTACH TABLE away", "RENAME TABLE away TO metric_events_from_events")
    for place, records in bench.log.items():
        await bench.ingest.handle(bench.batch(place, 0, len(records) - 1))
    assert bench.database.rows(COUNTED) == expected_counts(events)
    assert bench.database.rows(RAW) == [(len(events),)]


async def test_batches_cut_anew_change_nothing_D102(bench: Bench, history: History) -> None:
    """A replay from offset 0 cuts other batches, whose tokens are new: keys and uniq states hold (R39)."""
    events = many(history, 60)
    await bench.insert_all(*events, *(history.webhook_attempt("whk_1", n) for n in range(5)))
    before, chance = await answers(bench), random.Random(5)
    for place, records in bench.log.items():
        first = 0
        while first < len(records):
            last = min(first + chance.randint(0, 6), len(records) - 1)
            await bench.ingest.handle(bench.batch(place, first, last))
            first = last + 1
    assert bench.database.rows(RAW) == [(len(events),)]
    assert bench.database.rows(COUNTED) == expected_counts(events)
    assert await answers(bench) == before


async def test_an_event_that_was_emitted_twice_counts_once_and_keeps_its_place(bench: Bench, history: History) -> None:
    first, second = history.life("queued", "accepted", "delivered"), history.life("queued")
    await bench.insert_all(*first, *second)
    before = await answers(bench)
    cursor = (await bench.api.get("/v1/events"))["next_cursor"]
    await bench.insert_all(*first)  # the same ids at later offsets
    assert bench.database.rows(COUNTED) == expected_counts([*first, *second])
    assert await answers(bench) == before
    assert (await bench.api.get("/v1/events", after=cursor))["data"] == []


async def test_a_crash_between_insert_and_commit_changes_no_answer_whatever_the_next_bounds_R39(
    bench: Bench, history: History
) -> None:
    """Acknowledged, but the commits are lost: the next inserts start where the last commits were and end elsewhere."""
    events = many(history, 60)
    bench.append(*events, *(history.webhook_attempt("whk_1", n) for n in range(5)))
    committed = {place: len(records) // 3 for place, records in bench.log.items()}
    for place, records in bench.log.items():
        await bench.insert(place, committed[place])
        await bench.insert(place, (len(records) - committed[place]) // 2)  # and here the process dies
    cursor = (await bench.api.get("/v1/events", limit="20"))["next_cursor"]
    for place, records in bench.log.items():
        last = len(records) - 1
        middle = min(committed[place] + 1, last)
        await bench.ingest.handle(bench.batch(place, committed[place], middle))
        await bench.ingest.handle(bench.batch(place, middle, last))
    twice = bench.database.rows(f"SELECT count() > {len(events)} FROM events_raw")
    assert twice == [(1,)]  # nothing was merged meanwhile
    found, resumed = await answers(bench), await bench.api.get("/v1/events", after=cursor, limit="100")
    counted = bench.database.rows(COUNTED)
    with new_database(bench.database.url) as straight:
        async with built(straight) as other:
            other.log.update(bench.log)
            await other.insert_all()
            assert await answers(other) == found
            assert straight.rows(COUNTED) == counted == expected_counts(events)
    seen = {event["id"] for event in (await bench.api.get("/v1/events", limit="20"))["data"]}
    assert not seen & {event["id"] for event in resumed["data"]}


async def test_all_partitions_go_in_one_insert(bench: Bench, history: History) -> None:
    bench.append(*many(history, 60))
    assert len(bench.log) > 6
    await asyncio.gather(*(bench.insert(place) for place in list(bench.log)))
    assert bench.database.rows("SELECT uniq(_part), uniq(_partition) FROM events_raw") == [(1, len(bench.log))]


async def test_a_batch_over_the_turn_of_a_month_grows_from_its_start(
    bench: Bench, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One insert is one part, so what is readable of a partition is always a beginning of it."""
    turn = to_ms(to_timestamp(history.now_ms)[:7] + "-01T00:00:00.000Z")
    life = history.life("queued", "accepted", "deferred", "delivered", message_id=history.new_id())
    times = [turn - 2, turn - 1, turn, turn - 1]
    readable: list[list[tuple[object, ...]]] = []

    write = bench.ingest._events._write

    async def watched(rows: Sequence[EventRow]) -> None:
        await write(rows)
        readable.append(bench.database.rows("SELECT _offset FROM events_raw ORDER BY _offset"))

    monkeypatch.setattr(bench.ingest._events, "_write", watched)
    await bench.insert_all(
        *(event.model_copy(update={"time": to_timestamp(ms)}) for event, ms in zip(life, times, strict=True))
    )
    assert readable == [[(0,), (1,)], [(0,), (1,), (2,)], [(0,), (1,), (2,), (3,)]]


async def test_a_large_batch_is_one_part(bench: Bench, history: History) -> None:
    rows = [
        event_row(encode(event) + b" " * 2000, MESSAGE_EVENTS, Position("t", 0, offset))
        for offset, event in enumerate(many(history, 2500))
    ]
    await bench.ingest._events.insert(rows)
    assert bench.database.rows("SELECT uniq(_part), count() FROM events_raw") == [(1, len(rows))]
    kinds = "SELECT DISTINCT part_type FROM system.parts WHERE database = currentDatabase() AND table = 'events_raw'"
    assert bench.database.rows(kinds) == [("Compact",)]


async def test_a_row_that_has_no_place_is_named_and_the_rest_lands_D102(bench: Bench, history: History) -> None:
    good = history.life("queued", "accepted", message_id=history.new_id())
    bad: Envelope[Any] = good[0].model_copy(update={"sequence": None, "id": "evt_bad"})
    bench.append(good[0], bad, good[1])
    (place,) = bench.log
    with pytest.raises(MalformedRecord, match="sequence"):
        bench.batch(place, 1, 1)
    del bench.log[place][1]  # as the consumer does once it is dead-lettered
    await bench.ingest.handle(bench.batch(place, 0, 1))
    assert (await bench.api.get(f"/v1/messages/{good[0].subject}"))["status"] == "accepted"


async def test_the_read_side_starts_again_on_what_it_has(bench: Bench, history: History) -> None:
    await bench.insert_all(*many(history, 5))
    before = await answers(bench)
    async with built(bench.database) as again:
        assert await answers(again) == before
    applied = bench.database.rows("SELECT name, count() FROM schema_migrations GROUP BY name ORDER BY name")
    assert applied == [(migration.name, 1) for migration in MIGRATIONS]


async def test_while_clickhouse_is_away_batches_wait_and_reads_are_503_D100(
    bench: Bench, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = many(history, 10)
    bench.append(*events)
    place = next(iter(bench.log))
    with monkeypatch.context() as away:
        away.setattr(bench.store, "_client", None)
        with pytest.raises(Retry):
            await bench.insert(place)
        assert bench.store.ready() == ["clickhouse"]
        for path in ("/v1/messages", "/v1/events", f"/v1/messages/{events[0].subject}"):
            status, body = await bench.api.call(path)
            assert (status, body["error"]["code"]) == (503, "unavailable")
    await bench.insert_all()
    assert len(await bench.api.pages("/v1/messages", limits=iter(lambda: 100, None))) == 10
    assert bench.store.ready() == []


async def test_a_refused_insert_and_a_slow_read_are_unavailability_not_a_crash_D100(bench: Bench) -> None:
    with pytest.raises(StoreUnavailable):
        await bench.store.query("SELECT nothing FROM nowhere", {}, within=5)
    assert bench.store.ready() == ["clickhouse"]
    with pytest.raises(StoreUnavailable, match="no answer"):
        await bench.store.query("SELECT sleep(0.3)", {}, within=0.01)
    assert await bench.store.query("SELECT 1", {}, within=5) == [(1,)]


async def test_a_server_that_is_not_there_is_waited_for_D100(clickhouse: Database) -> None:
    class Hurried(SystemClock):
        naps = 0

        async def sleep(self, seconds: float) -> None:
            Hurried.naps += 1
            store._url = clickhouse.url  # it has come up in the meantime

    store = ClickHouse("http://127.0.0.1:9", clickhouse.name, [], Hurried())
    with pytest.raises(StoreUnavailable):
        await store.query("SELECT 1", {}, within=5)
    await store.start()
    assert Hurried.naps == 1
    assert await store.query("SELECT 1", {}, within=5) == [(1,)]
    await store.stop()
