"""The read side on a ClickHouse server that is killed, frozen, and loses its answers, while events go on (D100, D101, R37)."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from chassis.clock import SystemClock
from tests.integration.analytics.bench import Api, Json
from tests.integration.analytics.whole import PARTITIONS, Source, feed_of, lives, running, until
from tests.kit.broker import free_ports
from tests.kit.clickhouse import Database
from tests.kit.clickhouse_server import LOSE_ANSWERS
from tests.kit.history import History
from tests.kit.stack import ROOT

READY_WITHIN = 60  # seconds, of a busy machine


@dataclass(slots=True)
class ServerProcess:
    """The server of tests/kit/clickhouse_server.py; its data outlive it."""

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.kit.clickhouse_server", str(self.port), str(self.folder)]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        deadline = time.monotonic() + READY_WITHIN
        while True:
            try:
                urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5).close()
            except (URLError, ConnectionError):
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.05)
            else:
                return

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait()

    @property
    def database(self) -> Database:
        return Database(f"http://127.0.0.1:{self.port}?compress=0", f"test_{secrets.token_hex(4)}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    found = ServerProcess(tmp_path)
    found.start()
    yield found
    assert found.process is not None
    found.process.kill()
    found.process.wait()


async def messages_shown(api: Api, count: int) -> list[Json]:
    async def there() -> list[Json] | None:
        status, _ = await api.call("/v1/messages")
        found = await api.pages("/v1/messages", limits=iter(lambda: 100, None)) if status == 200 else []
        return found if len(found) >= count else None

    return await until(there, within=90)


async def unavailable(api: Api) -> None:
    async def refused() -> bool | None:
        status, body = await api.call("/v1/messages")
        return True if (status, body.get("error", {}).get("code")) == (503, "unavailable") else None

    await until(refused)
    async with api.session.get(f"{api.url}/health/live") as response:
        assert response.status == 200


async def test_a_server_that_dies_freezes_and_loses_answers_costs_nothing_D100_D101(
    source: Source, server: ServerProcess, group: str, tmp_path: Path
) -> None:
    history = History(SystemClock().now_ms() - 60_000, partitions=PARTITIONS)
    database, total = server.database, 0
    changes = {"ledger_every": "0.2s", "read_deadline": "1s"}
    async with running(source, database, group, tmp_path / "state", **changes) as api:

        async def written(count: int) -> None:
            nonlocal total
            await source.write(*lives(history, count))
            total += count

        await written(20)
        await messages_shown(api, total)

        server.signal(signal.SIGKILL)
        await written(20)
        await unavailable(api)
        server.start()
        await messages_shown(api, total)

        server.signal(signal.SIGSTOP)
        await written(20)
        await unavailable(api)
        server.signal(signal.SIGCONT)
        await messages_shown(api, total)

        (tmp_path / LOSE_ANSWERS).touch()
        await written(20)

        async def doubled() -> bool | None:
            """What was inserted and not answered is inserted again."""
            ((rows, events),) = database.rows("SELECT count(), uniq(event_id) FROM events_raw")
            return True if int(str(rows)) > int(str(events)) else None

        await until(doubled, within=60)
        (tmp_path / LOSE_ANSWERS).unlink()
        shown = await messages_shown(api, total)
        assert len(shown) == total
        feed = await feed_of(api, total)
        assert len({event["id"] for event in feed}) == len(feed)

        async def even() -> bool | None:
            status, ledger = await api.call("/v1/ledger")
            hours = ledger["data"] if status == 200 else []
            sides = [sum(hour["queued"] for hour in hours), sum(hour["log"]["queued"] for hour in hours)]
            return True if (*sides, sum(hour["drift"] for hour in hours)) == (total, total, 0) else None

        assert await until(even, within=60)
