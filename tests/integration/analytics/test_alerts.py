"""Rules of alerts held against real rows (R34): a spike is told once when it begins and once when it is over."""

from collections.abc import Iterator
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.log import outgoing
from schemas.alerts import AlertRule
from schemas.envelope import decode, seal
from schemas.events import AlertChange
from schemas.topics import TOPICS
from services.analytics.app import AlertTopics
from tests.integration.analytics.bench import Api
from tests.integration.analytics.whole import PARTITIONS, Source, running, until
from tests.kit.clickhouse import Database
from tests.kit.history import PROJECT, History
from tests.kit.topics import everything_in, new_topic, renamed

WINDOW_S, BASELINE_S = 3, 60
AT = "2026-01-01T00:00:00.000Z"


@pytest.fixture(autouse=True)
def looks_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.analytics.alerting.LOOK_EVERY", 0.2)
        yield


@pytest.fixture
async def alerts(source: Source) -> AlertTopics:
    named = {
        entry: renamed(TOPICS[entry], await new_topic(source.broker.bootstrap_servers))
        for entry in ("alert-rules", "alert-states")
    }
    return AlertTopics(named["alert-rules"], named["alert-states"])


def spike(**changes: Any) -> AlertRule:
    """security-alert, five times as much as before."""
    said = {
        "id": "alr_1", "project_id": PROJECT, "name": "security", "version": 1, "created_at": AT, "updated_at": AT,
        "updated_by": "key_1", "measure": "queued", "filters": {"tag": "security-alert"}, "window_seconds": WINDOW_S,
        "condition": {"times": 5, "baseline_seconds": BASELINE_S}, "minimum": 10,
    }  # fmt: skip
    return AlertRule.model_validate(said | changes)


async def set_rule(source: Source, topics: AlertTopics, rule: AlertRule) -> None:
    record = seal(rule, record_id="rec_1", source="ingest", subject=rule.id, time_ms=0, project_id=rule.project_id)
    await source.write_raw(outgoing(topics.rules, record, key=rule.id))


async def mails(source: Source, count: int, *, ago_s: float = 0, tag: str = "security-alert") -> None:
    """That many were queued so long ago."""
    history = History(SystemClock().now_ms() - round(ago_s * 1000), partitions=PARTITIONS, seed=hash((count, ago_s)))
    await source.write(*(event for _ in range(count) for event in history.life("queued", tags=(tag,))))


async def told(source: Source) -> list[tuple[str, AlertChange]]:
    topic = next(topic for topic in source.topics if topic.entry == "account-events")
    found = []
    for partition in range(topic.partitions):
        for record in await everything_in(source.broker.bootstrap_servers, topic.name, partition):
            data = decode(record.value, topic.types).data
            if isinstance(data, AlertChange):
                found.append((data.TYPE, data))
    return found


async def types_when(source: Source, count: int, *, within: float = 30) -> list[str]:
    """What has been told, once it is so much."""

    async def there() -> list[str] | None:
        found = [name for name, _ in await told(source)]
        return found if len(found) >= count else None

    return await until(there, within=within)


async def test_a_spike_is_raised_once_and_resolved_once_across_a_restart_and_beside_another_replica(
    source: Source, clickhouse: Database, group: str, alerts: AlertTopics
) -> None:
    """Twelve in the minute before are six tenths in three seconds: five times that is three, and the minimum ten."""
    source.alerts = alerts
    await set_rule(source, alerts, spike())
    await mails(source, 12, ago_s=30)
    async with running(source, clickhouse, group) as first:
        async with running(source, clickhouse, group):
            await mails(source, 9)
            await mails(source, 50, tag="otp")
            await until(lambda: _state(source, alerts, "ok"), within=60)
            written = SystemClock().monotonic()
            await mails(source, 40)
            assert await types_when(source, 1) == ["alert.raised"]
            assert SystemClock().monotonic() - written < 10
        await until(lambda: _ready(first))  # alone again
    ((_, raised),) = await told(source)
    assert (raised.rule_id, raised.episode, raised.measure) == ("alr_1", 1, "queued")
    assert raised.value is not None
    assert raised.threshold is not None
    assert raised.value > raised.threshold  # as many of them as the window held when it was looked at
    assert raised.threshold < 10
    await mails(source, 60)  # it goes on while nobody looks
    async with running(source, clickhouse, group):
        assert await types_when(source, 2) == ["alert.raised", "alert.resolved"]
    assert [data.episode for _, data in await told(source)] == [1, 1]


async def _ready(api: Api) -> bool | None:
    async with api.session.get(f"{api.url}/health/ready") as response:
        return True if response.status == 200 else None


async def _state(source: Source, topics: AlertTopics, wanted: str) -> bool | None:
    records = await everything_in(source.broker.bootstrap_servers, topics.states.name)
    return True if records and f'"state":"{wanted}"'.encode() in (records[-1].value or b"") else None
