"""The whole service on a real Kafka and a real ClickHouse: events in, answers out (R30, R35, R39; D100 to D102)."""

from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewTopic
from prometheus_client import REGISTRY

from chassis.clock import SystemClock
from chassis.log import Outgoing
from schemas.envelope import encode
from schemas.topics import dlq_name
from tests.integration.analytics.bench import Api, Json
from tests.integration.analytics.whole import PARTITIONS, Source, feed_of, lives, running, until
from tests.kit.broker import free_ports
from tests.kit.clickhouse import Database, new_database
from tests.kit.history import History
from tests.kit.topics import admin, everything_in


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - 60_000, partitions=PARTITIONS)


def rows_inserted() -> float:
    """By this process, whether or not the store had them already."""
    return REGISTRY.get_sample_value("analytics_rows_total", {"table": "events_raw"}) or 0


async def test_events_in_answers_out_R30_R35(
    source: Source, clickhouse: Database, group: str, history: History
) -> None:
    events, added = lives(history, 40), history.suppression("bob@example.org")
    attempt = history.webhook_attempt("whk_1", 1)
    async with running(source, clickhouse, group) as api:
        await source.write(*events, added, attempt)
        feed = await feed_of(api, len(events) + 1)
        assert {orjson.dumps(event) for event in feed} == {encode(event) for event in (*events, added)}
        assert len(feed) == len(events) + 1
        for message in await api.pages("/v1/messages", limits=iter(lambda: 7, None)):
            own = [event for event in events if event.subject == message["message_id"]]
            whole = await api.get(f"/v1/messages/{message['message_id']}")
            assert [orjson.dumps(event) for event in whole["timeline"]] == [encode(event) for event in own]
            assert message["status"] == own[-1].data.status

        async def attempts() -> list[Json] | None:
            return (await api.get("/v1/webhooks/whk_1/attempts"))["data"] or None

        assert await until(attempts) == [orjson.loads(encode(attempt))["data"]]
        async with api.session.get(f"{api.url}/health/ready") as response:
            assert response.status == 200, await response.text()
        async with api.session.get(f"{api.url}/metrics") as response:
            assert 'analytics_rows_total{table="events_raw"}' in await response.text()


async def test_while_nothing_can_be_inserted_the_numbers_say_how_far_they_are_behind_R33(
    source: Source, clickhouse: Database, group: str, history: History
) -> None:
    async with running(source, clickhouse, group) as api:
        await source.write(*history.life("queued"))
        await feed_of(api, 1)

        async def behind(at_least: int, at_most: int = 60_000) -> int | None:
            found: int = (await api.get("/v1/metrics"))["behind_ms"]
            return found if at_least <= found <= at_most else None

        await until(lambda: behind(0, 0))
        clickhouse.command("DETACH TABLE events_raw")
        await source.write(*history.life("queued"))
        grown = await until(lambda: behind(1000))
        await until(lambda: behind(grown + 500))
        clickhouse.command("ATTACH TABLE events_raw")
        await feed_of(api, 2)
        await until(lambda: behind(0, 0))


async def test_a_single_event_is_readable_at_once_R30(
    source: Source, clickhouse: Database, group: str, history: History
) -> None:
    async with running(source, clickhouse, group) as api:
        await source.write(*history.life("queued"))
        await feed_of(api, 1)  # all is warm
        clock = SystemClock()
        life = history.life("queued", "accepted", "delivered")
        written = clock.monotonic()
        await source.write(*life)

        async def delivered() -> bool | None:
            status, body = await api.call(f"/v1/messages/{life[0].subject}")
            return True if status == 200 and body["status"] == "delivered" else None

        await until(delivered)
        assert clock.monotonic() - written < 3.0  # no batch timer lies between; the machine may be busy


async def test_poison_is_dead_lettered_and_the_rest_lands_D102(
    source: Source, clickhouse: Database, group: str, history: History
) -> None:
    topic = source.topics[0]
    async with admin(source.broker.bootstrap_servers) as client:
        await client.create_topics([NewTopic(dlq_name(group, topic), PARTITIONS, 1)])
    life = history.life("queued", "accepted", "delivered", message_id=_in_partition(history, 1))
    bad_row = encode(life[0].model_copy(update={"sequence": None}))
    bad_field = encode(life[2]).replace(b'"number":1', b'"number":"1"')
    junk = [b"\xff\xfe", b"{}", None, b'{"type":"message.opened"}', bad_row, bad_field]
    records = [Outgoing(topic.name, life[0].subject, encode(event), 1) for event in life]
    poison = [Outgoing(topic.name, "junk", value, 1, (("bad", b"\xff"),)) for value in junk]
    async with running(source, clickhouse, group) as api:
        await source.write_raw(records[0], *poison[:3], records[1], *poison[3:], records[2])
        feed = await feed_of(api, 3)
        assert [orjson.dumps(event) for event in feed] == [encode(event) for event in life]
    dead = [
        letter
        for partition in range(PARTITIONS)
        for letter in await everything_in(source.broker.bootstrap_servers, dlq_name(group, topic), partition)
    ]
    assert {letter.value for letter in dead} == set(junk)


async def test_a_crash_between_insert_and_commit_doubles_nothing(
    source: Source, clickhouse: Database, group: str, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commits are lost with the process: the next one repeats what is there, then goes on."""
    early, late = lives(history, 20), lives(history, 20)

    async def lost(*_: object) -> None: ...

    with monkeypatch.context() as crashing:
        crashing.setattr(AIOKafkaConsumer, "commit", lost)
        async with running(source, clickhouse, group) as api:
            await source.write(*early)
            await feed_of(api, len(early))
    before = clickhouse.rows("SELECT _partition, count(), max(_offset) FROM events_raw GROUP BY ALL ORDER BY 1")
    async with running(source, clickhouse, group) as api:
        await source.write(*late)
        feed = await feed_of(api, len(early) + len(late))
    assert len({event["id"] for event in feed}) == len(feed) == len(early) + len(late)
    for partition, count, last in before:
        rows = f"SELECT count() FROM events_raw FINAL WHERE _partition = {partition} AND _offset <= {last}"
        assert clickhouse.rows(rows) == [(count,)]
    assert clickhouse.rows("SELECT count() FROM metric_events FINAL") == [(len(feed),)]


async def test_the_read_side_is_rebuilt_from_the_log_with_the_same_answers_R39_D102(
    source: Source, clickhouse: Database, group: str, history: History
) -> None:
    """A new group reads from offset 0: into the same tables, and into new ones."""
    events = [*lives(history, 30), *lives(history, 3)]

    async def answers(api: Api) -> list[Json]:
        feed = await feed_of(api, len(events))
        messages = await api.pages("/v1/messages", limits=iter(lambda: 10, None))
        return [*feed, *messages, *[await api.get(f"/v1/messages/{m['message_id']}") for m in messages]]

    await source.write(*events)
    async with running(source, clickhouse, group) as api:
        first = await answers(api)
    inserted = rows_inserted()
    async with running(source, clickhouse, f"{group}-again") as api:

        async def replayed() -> bool | None:
            return True if rows_inserted() == inserted + len(events) else None

        await until(replayed)
        assert await answers(api) == first
    with new_database(clickhouse.url) as empty:
        async with running(source, empty, f"{group}-rebuilt") as api:
            assert await answers(api) == first


async def test_while_clickhouse_is_away_the_service_lives_and_says_so_D100(source: Source, group: str) -> None:
    (nobody,) = free_ports(1)
    async with running(source, Database(f"http://127.0.0.1:{nobody}", "none"), group) as api:
        async with api.session.get(f"{api.url}/health/live") as response:
            assert response.status == 200
        async with api.session.get(f"{api.url}/health/ready") as response:
            assert (response.status, (await response.json())["missing"][0]) == (503, "clickhouse")
        status, body = await api.call("/v1/messages")
        assert (status, body["error"]["code"]) == (503, "unavailable")


def _in_partition(history: History, partition: int) -> Any:
    return next(known for known in iter(history.new_id, None) if known.partition == partition)
