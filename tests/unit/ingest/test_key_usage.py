"""Last use of keys: a minute's requests are one record, and nothing is lost to a log that is away (R13)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from chassis.log import LogUnavailable, Outgoing
from schemas.envelope import decode
from schemas.tables import ApiKeyUsage
from schemas.topics import TOPICS
from services.ingest.adapters.key_usage import TableKeyUsage
from services.ingest.domain.access import Caller
from tests.unit.ingest.stand_ins import HandClock

MINUTE = "2026-09-21T14:13:00.000Z"  # of the hand clock's start


@dataclass(slots=True)
class TheLog:
    """A log, and the table that is made of it."""

    table: dict[str, ApiKeyUsage] = field(default_factory=dict)
    appended: list[str] = field(default_factory=list)
    away: bool = False

    async def append(self, records: Sequence[Outgoing], *, within: float) -> None:
        if self.away:
            raise LogUnavailable("away")
        for record in records:
            usage = decode(record.value, TOPICS["api-key-usage"].types).data
            assert isinstance(usage, ApiKeyUsage)
            self.table[record.key] = usage
            self.appended.append(record.key)


def caller(name: str) -> Caller:
    return Caller("prj_1", name, "live", ("*",), None)


def usage_of(log: TheLog, clock: HandClock) -> TableKeyUsage:
    return TableKeyUsage(cast("Any", log.table), cast("Any", log), clock, cast("Any", None))


async def test_a_minute_is_one_record_of_each_key() -> None:
    log, clock = TheLog(), HandClock()
    usage, other_replica = usage_of(log, clock), usage_of(log, clock)
    for _ in range(3):
        for name in ("key_1", "key_2"):
            usage.used(caller(name))
            other_replica.used(caller(name))
        await usage.flush()
        await other_replica.flush()  # the table says so already
        clock.ms += 1000
    assert log.appended == ["key_1", "key_2"]
    assert log.table["key_1"].last_used_at == MINUTE
    clock.ms += 60_000
    usage.used(caller("key_2"))
    await usage.flush()
    assert log.appended == ["key_1", "key_2", "key_2"]


async def test_what_this_replica_has_noted_is_seen_at_once() -> None:
    log, clock = TheLog(), HandClock()
    usage = usage_of(log, clock)
    assert usage.last_used("key_1") is None
    usage.used(caller("key_1"))
    assert (usage.last_used("key_1"), log.appended) == (MINUTE, [])


async def test_a_log_that_is_away_loses_nothing() -> None:
    log, clock = TheLog(away=True), HandClock()
    usage = usage_of(log, clock)
    usage.used(caller("key_1"))
    usage.used(caller("key_2"))
    await usage.flush()
    clock.ms += 120_000
    usage.used(caller("key_2"))
    log.away = False
    await usage.flush()
    assert log.table["key_1"].last_used_at == MINUTE
    assert log.table["key_2"].last_used_at == "2026-09-21T14:15:00.000Z"
