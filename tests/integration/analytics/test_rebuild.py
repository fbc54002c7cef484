"""The read side is rebuilt beside itself, while mail goes on, and says the same before and after (R39, R37)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from structlog.testing import capture_logs

from chassis.clock import SystemClock
from chassis.ids import MessageId
from chassis.principal import HEADER, LIFETIME_MS, Principal, sign
from services.analytics.adapters.shadow import ClickHouseShadow
from services.analytics.api.rebuild import PATH, SCOPE
from services.analytics.ports import Run
from tests.integration.analytics.bench import SECRET, Api, Json
from tests.integration.analytics.whole import PARTITIONS, Source, feed_of, lives, running, until
from tests.kit.clickhouse import Database
from tests.kit.history import History
from tests.kit.topics import admin

# Everything that can be asked, as a list.
LISTS = ("/v1/messages", "/v1/events", "/v1/webhooks/whk_1/attempts", "/v1/dead-letters", "/v1/sandbox/messages")


@pytest.fixture
def history() -> History:
    return History(SystemClock().now_ms() - 60_000, partitions=PARTITIONS)


@asynccontextmanager
async def analytics(source: Source, database: Database, group: str, state_dir: Path) -> AsyncIterator[Api]:
    async with running(source, database, group, state_dir, ledger_every="0.1s", read_deadline="30s") as api:
        yield api


async def answers(api: Api) -> Json:
    """All of it, but for times of counting."""
    found: Json = {}
    for path in LISTS:
        found[path] = await api.pages(path, limits=iter(lambda: 50, None))
    for message in found["/v1/messages"][::5]:
        path = f"/v1/messages/{message['message_id']}"
        found[path] = await api.get(path)
    return found | {"ledger": await api.get("/v1/ledger")}


def operator(*scopes: str) -> dict[str, str]:
    return {HEADER: sign(Principal("", "operator", scopes, SystemClock().now_ms() + LIFETIME_MS), SECRET)}


async def ask(api: Api, body: Json | None = None) -> tuple[int, Json]:
    method = "GET" if body is None else "POST"
    async with api.session.request(method, api.url + PATH, json=body, headers=operator(SCOPE)) as response:
        return response.status, await response.json()


async def over(api: Api) -> Json:
    async def idle() -> Json | None:
        _, found = await ask(api)
        return found if found["step"] == "idle" else None

    return await until(idle, within=90)


async def test_a_rebuild_under_writes_changes_no_answer_R39(
    source: Source, clickhouse: Database, group: str, history: History, tmp_path: Path
) -> None:
    """Rows that should not be there are gone with it, those that were missing are back; nothing is ever seen less of."""
    events, enough = lives(history, 60), asyncio.Event()
    seen: list[int] = []
    async with analytics(source, clickhouse, group, tmp_path) as api:
        await source.write(*events, *(history.webhook_attempt("whk_1", n) for n in range(5)))
        await feed_of(api, len(events))
        before = await answers(api)
        clickhouse.command(
            "ALTER TABLE messages DELETE WHERE cityHash64(message_id) % 3 = 0 SETTINGS mutations_sync = 1"
        )
        clickhouse.command(
            "INSERT INTO messages SELECT * REPLACE (concat(message_id, 'Z') AS message_id) FROM messages"
        )

        async def keep_writing() -> None:
            while not enough.is_set():
                await source.write(*history.life("queued", "accepted", "delivered", tags=["late"]))
                seen.append(len((await api.get("/v1/events", limit="100"))["data"]))

        writing = asyncio.create_task(keep_writing())
        status, found = await ask(api, {})
        assert (status, found["step"]) == (202, "reading")
        found = await over(api)
        enough.set()
        await writing
        assert found["records"] >= len(events) + 5
        assert seen == sorted(seen)
        await feed_of(api, len(events) + 3 * len(seen))
        after = await answers(api)
        assert after["/v1/events"][: len(events)] == before["/v1/events"]
        late = [message for message in after["/v1/messages"] if message["tags"] == ["late"]]
        assert len(late) == len(seen)
        assert [message for message in after["/v1/messages"] if message["tags"] != ["late"]] == before["/v1/messages"]
        assert after["ledger"]["data"][0]["drift"] == 0
        assert clickhouse.rows(
            "SELECT count() FROM messages WHERE endsWith(message_id, 'Z') AND length(message_id) = 37"
        ) == [(0,)]
        with capture_logs() as said:
            await ask(api, {})
            await over(api)
            again = await answers(api)
        assert orjson.dumps(again) == orjson.dumps(after)
        assert [line["event"] for line in said if line["event"] == "ledger_drifts"] == []
    assert databases(clickhouse) == [clickhouse.name]


async def test_a_rebuild_that_dies_at_any_step_is_finished_by_the_next_start_R39(
    source: Source, clickhouse: Database, group: str, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = lives(history, 20)
    await source.write(*events)
    with monkeypatch.context() as dying:
        exchanged: list[Run] = []

        async def half(shadow: ClickHouseShadow, run: Run) -> None:
            """The process dies when some tables have changed places, that of the events among them."""
            command, done = shadow._live.command, list[str]()

            async def counted(statement: str) -> None:
                if statement.startswith("EXCHANGE") and any("events_raw" in one for one in done):
                    exchanged.append(run)
                    await asyncio.Event().wait()
                await command(statement)
                done.append(statement)

            dying.setattr(shadow._live, "command", counted)
            await exchange(shadow, run)

        exchange = ClickHouseShadow.exchange
        dying.setattr(ClickHouseShadow, "exchange", half)
        async with analytics(source, clickhouse, group, tmp_path) as api:
            await feed_of(api, len(events))
            before = await answers(api)
            emptied(clickhouse)  # so that it shows where a table is the old one
            await ask(api, {})
            await until(lambda: _there(exchanged), within=60)
    assert len(databases(clickhouse)) == 2
    async with analytics(source, clickhouse, group, tmp_path) as api:
        await over(api)
        assert orjson.dumps(await answers(api)) == orjson.dumps(before)
    assert databases(clickhouse) == [clickhouse.name]


async def test_who_may_and_what_would_be_lost_R39(
    source: Source, clickhouse: Database, group: str, history: History, tmp_path: Path
) -> None:
    """What the log no longer has can not come back: nothing is begun before somebody accepts that."""
    life = history.life("queued", "accepted", message_id=_in(history, 0))
    async with analytics(source, clickhouse, group, tmp_path) as api:
        await source.write(*life)
        await feed_of(api, 2)
        for headers in (dict[str, str](), operator("messages.read"), api.signed("prj_1")):
            async with api.session.post(api.url + PATH, headers=headers) as response:
                assert response.status == 401
        async with admin(source.broker.bootstrap_servers) as client:
            await client.delete_records({TopicPartition(source.topics[0].name, 0): RecordsToDelete(1)})
        status, body = await ask(api, {})
        assert (status, body["error"]["message"].split()[0]) == (409, "1")
        assert (await ask(api))[1]["step"] == "idle"
        assert (await ask(api, {"accept_loss": True}))[0] == 202
        await over(api)
        assert [event["sequence"] for event in (await api.get("/v1/events"))["data"]] == [2]


def emptied(database: Database) -> None:
    """All that is made of the log is gone, the tables stay."""
    listed = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    for (table,) in database.rows(f"{listed} AND name != 'schema_migrations'"):
        database.command(f"TRUNCATE TABLE {table}")


def databases(clickhouse: Database) -> list[str]:
    rows = clickhouse.rows(
        f"SELECT name FROM system.databases WHERE startsWith(name, '{clickhouse.name}') ORDER BY name"
    )
    return [str(name) for (name,) in rows]


def _in(history: History, partition: int) -> MessageId:
    return next(known for known in iter(history.new_id, None) if known.partition == partition)


async def _there(found: list[Run]) -> bool | None:
    return True if found else None
