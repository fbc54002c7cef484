"""Claims by log on a real broker: one winner everywhere, whatever races, freezes or dies (R4, D14, D17, D18)."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from chassis.claims import ClaimOf, Claims, CloseOf, ReleaseOf, Winner
from chassis.clock import SystemClock
from chassis.log import Incoming, Log, LogUnavailable, Outgoing
from chassis.tail import Tail
from tests.integration.chassis.test_log import frozen, running_log
from tests.kit.broker import Broker
from tests.kit.topics import everything_in, kafka_settings, new_topic
from tests.kit.waiting import until

DAY = timedelta(days=1)


def read(record: Incoming) -> ClaimOf | CloseOf | ReleaseOf | None:
    match orjson.loads(record.value or b"null"):
        case {"claim": str(claim_id), "until": int(until_ms)}:
            return ClaimOf(record.key, claim_id, until_ms)
        case {"close": str(claim_id)}:
            return CloseOf(record.key, claim_id)
        case {"release": str(claim_id)}:
            return ReleaseOf(record.key, claim_id)
        case _:
            return None


def claim_of(log: Log, topic: str, key: str, claim_id: str, *, lifetime_ms: int = 5000) -> Outgoing:
    until_ms = log.broker_now_ms() + lifetime_ms
    return Outgoing(topic, key, orjson.dumps({"claim": claim_id, "until": until_ms}), 0, (), until_ms)


def other(topic: str, what: str, key: str, claim_id: str) -> Outgoing:
    return Outgoing(topic, key, orjson.dumps({what: claim_id}), 0)


@asynccontextmanager
async def running_claims(
    broker: Broker, topic: str, *, window: timedelta = DAY, path: Path | None = None
) -> AsyncIterator[tuple[Log, Claims]]:
    """One process: its own producer, tail and index."""
    tail = Tail(kafka_settings(broker.bootstrap_servers), client_id="test-claims")
    async with running_log(broker) as log:
        await tail.start()
        claims = Claims(log, tail, SystemClock(), topic=topic, read=read, window=window, path=path)
        try:
            await claims.follow(0)
            await claims.caught_up(0)
            yield log, claims
        finally:
            await tail.stop()
            claims.close()


async def caught_up(claims: Claims, key: str) -> Winner:
    await until(lambda: claims.winner(key), within=5)
    found = claims.winner(key)
    assert found is not None
    return found


@pytest.mark.parametrize("on_disk", [False, True])
async def test_fifty_at_once_in_two_processes_have_one_winner_d14(
    broker: Broker, tmp_path: Path, on_disk: bool
) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    paths = [tmp_path / "a" / "claims.db", tmp_path / "b" / "claims.db"] if on_disk else [None, None]
    async with (
        running_claims(broker, topic, path=paths[0]) as (log_a, claims_a),
        running_claims(broker, topic, path=paths[1]) as (log_b, claims_b),
    ):
        assert claims_a.ready()
        for key in (f"key-{n}" for n in range(10)):
            winners = await asyncio.gather(
                *(claims_a.claim(claim_of(log_a, topic, key, f"a{n}"), within=10) for n in range(25)),
                *(claims_b.claim(claim_of(log_b, topic, key, f"b{n}"), within=10) for n in range(25)),
            )
            assert len(Counter(winner.claim_id for winner in winners)) == 1
            assert claims_a.winner(key) == winners[0]
            assert await caught_up(claims_b, key) == winners[0]
    async with running_claims(broker, topic, path=paths[0]) as (_, again):
        assert again.winner("key-9") == winners[0]


async def test_close_and_release(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    async with running_claims(broker, topic) as (log, claims):
        await claims.claim(claim_of(log, topic, "k", "first"), within=5)
        assert (await claims.claim(claim_of(log, topic, "k", "second"), within=5)).claim_id == "first"
        assert await claims.closed("k", within=0.05) is None
        waiting = asyncio.create_task(claims.closed("k", within=5))
        await log.append([other(topic, "close", "k", "second")], within=5)  # a loser closes nothing
        await log.append([other(topic, "release", "k", "second")], within=5)
        (ack,) = await log.append([other(topic, "close", "k", "first")], within=5)
        closed = await waiting
        assert closed is not None
        assert (closed.claim_id, closed.closed_by) == ("first", b'{"close":"first"}')
        assert claims.winner("k") == await claims.closed("k", within=0) == closed
        assert ack.offset == 4
        await log.append([other(topic, "release", "k", "first")], within=5)
        assert (await claims.claim(claim_of(log, topic, "k", "third"), within=5)).claim_id == "third"
        claims.forget("k")
        assert claims.winner("k") is None
        with pytest.raises(TypeError):
            await claims.claim(other(topic, "close", "k", "third"), within=5)


async def test_a_window_ends_by_the_brokers_clock_d18(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    async with running_claims(broker, topic, window=timedelta(seconds=1)) as (log, claims):
        first = await claims.claim(claim_of(log, topic, "k", "first"), within=5)
        assert (await claims.claim(claim_of(log, topic, "k", "second"), within=5)).claim_id == "first"
        await until(lambda: claims.winner("k") is None, within=3)
        again = await claims.claim(claim_of(log, topic, "k", "third"), within=5)
        assert again.claim_id == "third"
        assert again.timestamp_ms > first.timestamp_ms + 1000


async def test_a_claim_that_landed_late_is_void(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    async with running_claims(broker, topic) as (log, claims):
        with pytest.raises(LogUnavailable):
            await claims.claim(claim_of(log, topic, "k", "late", lifetime_ms=-1000), within=5)
        bare = Outgoing(topic, "k", orjson.dumps({"claim": "late, and the log was not told", "until": 1}), 0)
        with pytest.raises(LogUnavailable):
            await claims.claim(bare, within=5)
        assert (await claims.claim(claim_of(log, topic, "k", "in time"), within=5)).claim_id == "in time"


async def test_frozen_broker_d2(own_broker: Broker, tmp_path: Path) -> None:
    """An answer within the deadline; what lands after the thaw is void; a retry gets the one winner."""
    topic = await new_topic(own_broker.bootstrap_servers)
    async with running_claims(own_broker, topic, path=tmp_path / "claims.db") as (log, claims):
        await claims.claim(claim_of(log, topic, "warm", "warm"), within=5)
        async with frozen(own_broker):
            begun = time.monotonic()
            late = [
                claims.claim(claim_of(log, topic, "k", f"late-{n}", lifetime_ms=800), within=0.8) for n in range(20)
            ]
            results = await asyncio.gather(*late, return_exceptions=True)
            assert all(isinstance(result, LogUnavailable) for result in results)
            assert time.monotonic() - begun < 1.2
            await until(lambda: not claims.ready(), within=1)
        await until(claims.ready, within=10)
        winner = await claims.claim(claim_of(log, topic, "k", "retry"), within=5)
        assert winner.claim_id == "retry"
        assert claims.winner("k") == winner


async def test_killed_broker_under_load_keeps_one_winner_d17(own_broker: Broker, tmp_path: Path) -> None:
    """Two processes claim the same keys while the broker is killed and comes back: both name the same winner of each."""
    topic = await new_topic(own_broker.bootstrap_servers)
    won: dict[str, set[str]] = {}
    async with (
        running_claims(own_broker, topic, path=tmp_path / "a.db") as (log_a, claims_a),
        running_claims(own_broker, topic, path=tmp_path / "b.db") as (log_b, claims_b),
    ):

        async def retry(name: str, log: Log, claims: Claims, key: str) -> None:
            attempt = 0
            while True:
                attempt += 1
                record = claim_of(log, topic, key, f"{name}-{attempt}", lifetime_ms=1000)
                try:
                    winner = claims.winner(key) or await claims.claim(record, within=1)
                except LogUnavailable:
                    await asyncio.sleep(0.05)
                    continue
                won.setdefault(key, set()).add(winner.claim_id)
                return

        async def load() -> None:
            for n in range(400):
                key = f"key-{n}"
                await asyncio.gather(retry("a", log_a, claims_a, key), retry("b", log_b, claims_b, key))

        loading = asyncio.create_task(load())
        await until(lambda: len(won) > 20)
        await asyncio.to_thread(own_broker.kill)
        await asyncio.sleep(1.2)
        await asyncio.to_thread(own_broker.restart)
        await asyncio.wait_for(loading, 60)
        assert {len(names) for names in won.values()} == {1}
        assert len(won) == 400
    async with running_claims(own_broker, topic) as (_, fresh):  # read anew, in memory
        assert {key: {fresh.winner(key).claim_id} for key in won} == won  # type: ignore[union-attr]  # else it fails


async def test_the_file_goes_on_where_it_stood(broker: Broker, tmp_path: Path) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    path = tmp_path / "claims.db"
    async with running_claims(broker, topic, path=path) as (log, claims):
        await asyncio.gather(*(claims.claim(claim_of(log, topic, f"k{n}", f"c{n}"), within=10) for n in range(200)))
        await claims.unfollow(0)
        assert claims.winner("k199") is not None
        await claims.follow(0)
    async with running_log(broker) as log:
        await log.append([claim_of(log, topic, "while away", "c")], within=5)
    seen: list[int] = []

    def reading(record: Incoming) -> ClaimOf | CloseOf | ReleaseOf | None:
        seen.append(record.offset)
        return read(record)

    tail = Tail(kafka_settings(broker.bootstrap_servers), client_id="test-claims")
    await tail.start()
    async with running_log(broker) as log:
        claims = Claims(log, tail, SystemClock(), topic=topic, read=reading, window=DAY, path=path)
        await claims.follow(0)
        await claims.caught_up(0)
        assert seen == [200]
        assert [claims.winner(key) is not None for key in ("k0", "k199", "while away")] == [True, True, True]
        with pytest.raises(sqlite3.OperationalError):  # two processes with one file
            Claims(log, tail, SystemClock(), topic=topic, read=read, window=DAY, path=path)
    await tail.stop()
    claims.close()


@pytest.mark.parametrize("damage", ["garbage", "torn", "other topic", "ahead of the log"])
async def test_a_file_that_can_not_be_used_is_rebuilt(broker: Broker, tmp_path: Path, damage: str) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    path = tmp_path / "claims.db"
    async with running_claims(broker, topic, path=path) as (log, claims):
        for n in range(300):
            await log.append([claim_of(log, topic, f"k{n}", "c")], within=5)
        await until(lambda: claims.winner("k299"), within=5)
    match damage:
        case "garbage":
            path.write_bytes(b"no database at all" * 1000)
        case "torn":
            content = path.read_bytes()
            path.write_bytes(content[:8192] + bytes(8192) + content[16384:])
        case "other topic":
            rows = sqlite3.connect(path)
            rows.execute("UPDATE origin SET topic = 'other'")
            rows.execute("DELETE FROM claims")
            rows.commit()
            rows.close()
        case _:
            rows = sqlite3.connect(path)
            rows.execute("UPDATE positions SET next_offset = 10000")
            rows.execute("DELETE FROM claims")
            rows.commit()
            rows.close()
    async with running_claims(broker, topic, path=path) as (_, claims):
        assert all(claims.winner(f"k{n}") is not None for n in range(300))
    assert len(await everything_in(broker.bootstrap_servers, topic)) == 300
