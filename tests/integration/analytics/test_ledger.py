"""The ledger on a real Kafka and a real ClickHouse: even while all is well, and exact about what is not (R37)."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from chassis.clock import SystemClock
from chassis.ids import parse_message_id
from schemas.envelope import Envelope, seal, to_timestamp
from schemas.events import MessageEvent
from services.analytics.domain.ledger import HOUR_MS
from tests.integration.analytics.bench import Api, Json
from tests.integration.analytics.whole import PARTITIONS, Source, lives, running, until
from tests.kit import router_inputs
from tests.kit.clickhouse import Database
from tests.kit.history import OTHER_PROJECT, PROJECT, History

NOBODY = "prj_06GC8M3CFE0000000000000003"


@pytest.fixture
def history() -> History:
    """Begins five hours ago: what is not in the hours that are looked at most."""
    return History(SystemClock().now_ms() - 5 * HOUR_MS, partitions=PARTITIONS)


@pytest.fixture(autouse=True)
def a_month_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older is looked at by turns here, too, but its turn comes with every other look instead of every ninetieth."""
    monkeypatch.setattr("services.analytics.audit._DAY_MS", 30 * 24 * HOUR_MS)


@asynccontextmanager
async def ledger_of(source: Source, database: Database, group: str, state_dir: Path) -> AsyncIterator[Api]:
    async with running(source, database, group, state_dir, ledger_every="0.1s", read_deadline="30s") as api:
        yield api


async def ledger_when(api: Api, queued: int, *, drift: int = 0, missing: int = 0, project: str = PROJECT) -> list[Json]:
    """The ledger's hours once the log has so many messages, and one side so many otherwise."""

    async def there() -> list[Json] | None:
        status, body = await api.call("/v1/ledger", project)
        hours: list[Json] = body["data"] if status == 200 else []
        found = (
            sum(hour["log"]["queued"] for hour in hours),
            sum(hour["drift"] for hour in hours),
            sum(hour["missing"] for hour in hours),
        )
        return hours if found == (queued, drift, missing) else None

    return await until(there, within=60)


def total(hours: list[Json], side: str | None = None) -> Json:
    """All hours together, without what is nought; `open` beside the rest."""
    summed: dict[str, int] = {}
    for hour in hours:
        counts = hour if side is None else hour[side]
        words = {**counts["open"], **{word: counts[word] for word in counts if isinstance(counts[word], int)}}
        for word, number in words.items():
            summed[word] = summed.get(word, 0) + number
    return {word: n for word, n in summed.items() if n and word not in {"drift", "missing"}}


def even(hours: list[Json]) -> bool:
    """The equation, on both sides."""
    sides = [*hours, *(hour["log"] for hour in hours)]
    ends = ("delivered", "bounced", "suppressed", "cancelled", "expired")
    return all(side["queued"] == sum(side[end] for end in ends) + sum(side["open"].values()) for side in sides)


def shown(hour: str) -> float | None:
    return REGISTRY.get_sample_value("sendarix_ledger_drift", {"hour": hour})


async def test_a_row_that_is_gone_shows_with_its_hour_until_it_is_back_R37(
    source: Source, clickhouse: Database, group: str, history: History, tmp_path: Path
) -> None:
    events = [*lives(history, 20), *history.life("queued", "suppressed"), *history.life("queued", "accepted", "held")]
    other = History(history.now_ms, PARTITIONS, seed=2, project_id=OTHER_PROJECT).life("queued")
    victim = history.life("queued", "accepted", "delivered")
    hour = to_timestamp(known_time(victim) // HOUR_MS * HOUR_MS)
    async with ledger_of(source, clickhouse, group, tmp_path) as api:
        await source.write(*events, *victim, *other)
        hours = await ledger_when(api, 23)
        assert even(hours)
        assert total(hours) == total(hours, "log")
        assert total(await ledger_when(api, 1, project=OTHER_PROJECT)) == {"queued": 1, "in_flight": 1}
        assert await ledger_when(api, 0, project=NOBODY) == []
        with capture_logs() as said:
            clickhouse.command(f"DELETE FROM messages WHERE message_id = '{victim[0].subject}'")
            assert [hour["hour"] for hour in await ledger_when(api, 23, drift=1) if hour["drift"]] == [hour]
            assert await until(lambda: _same(shown(hour), 1), within=60)
            copied = f"INSERT INTO events_raw SELECT * FROM events_raw WHERE subject = '{victim[0].subject}'"
            clickhouse.command(copied)
            assert await ledger_when(api, 23) == hours
            assert await until(lambda: _same(shown(hour), None), within=60)
        told = [
            (line["event"], line["hour"], line["project_id"]) for line in said if line["event"].startswith("ledger")
        ]
        assert told == [("ledger_drifts", hour, PROJECT), ("ledger_even", hour, PROJECT)]


async def test_late_corrections_repeats_and_a_new_process_count_each_message_once_R37(
    source: Source, clickhouse: Database, group: str, history: History, tmp_path: Path
) -> None:
    """The file goes on where it was; without it the whole log gives the same."""
    late = history.life("queued", "accepted", "delivered", "bounced")
    events, chance = [*lives(history, 20), *late[:3]], random.Random(7)
    async with ledger_of(source, clickhouse, group, tmp_path / "a") as api:
        await source.write(*events)
        before = await ledger_when(api, 21)
        await source.write(late[3])

        async def bounced() -> list[Json] | None:
            hours = await ledger_when(api, 21)
            return hours if total(hours).get("bounced") == 1 else None

        after = await until(bounced)
        assert total(after)["delivered"] == total(before)["delivered"] - 1
    repeats = chance.choices(events, k=20)
    await source.write(*repeats, *history.life("queued"))
    async with ledger_of(source, clickhouse, group, tmp_path / "a") as api:
        last = await ledger_when(api, 22)
    async with ledger_of(source, clickhouse, group, tmp_path / "b") as api:
        assert await ledger_when(api, 22) == last
        assert total(last) == {**total(after), "queued": 22, "in_flight": total(after).get("in_flight", 0) + 1}


async def test_what_was_accepted_and_has_no_event_is_missing_once_the_router_has_passed_it_R37(
    source: Source, clickhouse: Database, group: str, history: History, tmp_path: Path
) -> None:
    told, lost, void, fresh = (history.life("queued", "accepted") for _ in range(4))
    async with ledger_of(source, clickhouse, group, tmp_path) as api:
        await source.write(
            *told, *(submitted(events[0]) for events in (told, lost)), submitted(void[0], valid_until_ms=1)
        )
        await decided(source, group)
        await source.write(submitted(fresh[0]))  # the router has not come to it
        await ledger_when(api, 1, missing=1)
        assert await until(lambda: _same(REGISTRY.get_sample_value("sendarix_ledger_missing"), 1))
        await source.write(*lost)
        assert even(await ledger_when(api, 2))


def known_time(events: list[Envelope[MessageEvent]]) -> int:
    known = parse_message_id(events[0].subject)
    assert known is not None
    return known.created_at_ms


def submitted(event: Envelope[MessageEvent], **fields: Any) -> Envelope[Any]:
    return seal(
        router_inputs.submit(event.subject, **fields), record_id=f"rec_{event.subject}", source="ingest",
        subject=event.subject, time_ms=0, project_id=PROJECT,
    )  # fmt: skip


async def decided(source: Source, group: str) -> None:
    """As the router would have committed: all inputs that are there."""
    places = [TopicPartition(topic.name, partition) for topic in source.inputs for partition in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=source.broker.bootstrap_servers, group_id=f"{group}-router", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign(places)
    await consumer.commit(await consumer.end_offsets(places))
    await consumer.stop()


async def _same(found: object, wanted: object) -> bool | None:
    return True if found == wanted else None
