"""What a page of `GET /v1/messages` costs as the table grows: by time, and by the rows and bytes that ClickHouse reads (R30).

Rows, bytes and CPU are the oracle where others use the machine, too. Caches are dropped once, before the first question.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import clickhouse_connect

from chassis.clock import SystemClock
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.adapters.message_reads import ClickHouseMessages
from services.analytics.adapters.questions import Questions
from services.analytics.adapters.schema import retention
from services.analytics.domain.message_filters import MessageFilters, MessagesQuery
from tests.bench.many_messages import PROJECT, ManyMessages
from tests.bench.report import Figures

_DATABASE = "bench"
_ASKED = 20  # times each
_LIMIT = 25
_QUIET = 10  # seconds in which no merge has begun
_TABLES = ("messages", "message_index")

SINGLE: Mapping[str, MessageFilters] = {
    "no filter": MessageFilters(),
    "status=delivered": MessageFilters(status="delivered"),
    "status=cancelled": MessageFilters(status="cancelled"),
    "status=held (one in a million)": MessageFilters(status="held"),
    "recipient": MessageFilters(recipient="user4363087@gmail.com"),
    "recipient_domain=gmail.com": MessageFilters(recipient_domain="gmail.com"),
    "recipient_domain, rare": MessageFilters(recipient_domain="company15000.example"),
    "from": MessageFilters(sender="hello@shop49.example"),
    "subject, common": MessageFilters(subject="CODE is"),
    "subject, a part of few": MessageFilters(subject="order 7654"),
    "tag, common": MessageFilters(tag="tag0"),
    "tag, rare": MessageFilters(tag="tag299"),
    "template": MessageFilters(template="tpl_390"),
    "metadata, common": MessageFilters(metadata={"tier": "gold"}),
    "metadata, of one message": MessageFilters(metadata={"order": "19997"}),
    "path": MessageFilters(path="up_2"),
    "error_category": MessageFilters(error_category="mailbox_full"),
    "channel": MessageFilters(channel="batch"),
    "since and until": MessageFilters(since_ms=1_788_000_000_000, until_ms=1_788_000_600_000),
}
PAIRS: Mapping[str, MessageFilters] = {
    "status and tag": MessageFilters(status="bounced", tag="tag200"),
    "status and domain": MessageFilters(status="bounced", recipient_domain="company7.example"),
    "template and error_category": MessageFilters(template="tpl_390", error_category="spam_blocked"),
    "tag and subject": MessageFilters(tag="tag50", subject="your code"),
    "domain and metadata": MessageFilters(recipient_domain="web.de", metadata={"tier": "free"}),
}
NOTHING: Mapping[str, MessageFilters] = {
    "nothing: tag": MessageFilters(tag="none"),
    "nothing: status": MessageFilters(status="unknown"),
    "nothing: subject": MessageFilters(subject="xyzzy"),
    "nothing: status and tag": MessageFilters(status="held", tag="tag299"),
    "nothing: two that exclude each other": MessageFilters(status="suppressed", path="up_1"),
}


@dataclass(frozen=True, slots=True)
class _Cost:
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    rows: float
    kilobytes: float
    found: int


async def search(sizes: Sequence[int], standing: Path | None = None) -> Figures:
    """One table that grows from size to size; in a standing folder it is there for the next run, which goes on from it."""
    if standing:
        return await _search(sizes, standing)
    with tempfile.TemporaryDirectory(prefix="sendarix-bench-search-") as folder:
        return await _search(sizes, Path(folder))


async def _search(sizes: Sequence[int], folder: Path) -> Figures:
    figures: Figures = {}
    clock, span = SystemClock(), timedelta(days=3650)
    store = ClickHouse(f"chdb://{folder}", _DATABASE, retention(events=span, attempts=span, sandbox=span), clock)
    await store.start()
    client = clickhouse_connect.get_client(dsn=f"chdb://{folder}", database=_DATABASE)
    try:
        bench = _Bench(ClickHouseMessages(Questions(store, clock, deadline=60)), client, folder)
        many = ManyMessages(client)
        many.prepare()
        for size in sorted(sizes):
            many.grow_to(size)
            figures |= await bench.measured(size)
    finally:
        client.close()
        await store.stop()
    return figures


class _Bench:
    def __init__(self, reads: ClickHouseMessages, client: Any, folder: Path) -> None:
        self._reads = reads
        self._client = client
        self._folder = folder

    async def measured(self, size: int) -> Figures:
        await self._merged()
        for table in _TABLES:
            self._client.command(f"SYSTEM STOP MERGES {table}")
        deep = self._deep()
        self._forget()
        wanted = {name: await self._page(filters) for name, filters in {**SINGLE, **PAIRS}.items()}
        wanted["a deep cursor"] = await self._page(SINGLE["tag, common"], after=deep)
        wanted["one message"] = await self._cost(lambda: self._one(deep))
        nothing = {name: await self._page(filters) for name, filters in NOTHING.items()}
        assert not any(cost.found for cost in nothing.values())
        for table in _TABLES:
            self._client.command(f"SYSTEM START MERGES {table}")
        figures: Figures = {}
        for name, cost in (wanted | nothing).items():
            figures |= {
                f"{size:,}: {name}: found": cost.found,
                f"{size:,}: {name}: p50 ms": cost.p50_ms,
                f"{size:,}: {name}: p95 ms": cost.p95_ms,
                f"{size:,}: {name}: CPU ms": cost.cpu_ms,
                f"{size:,}: {name}: rows read": cost.rows,
                f"{size:,}: {name}: kB read": cost.kilobytes,
            }
        figures["search: slowest, p95 ms"] = max(cost.p95_ms for cost in wanted.values())
        figures["search: slowest that finds nothing, p95 ms"] = max(cost.p95_ms for cost in nothing.values())
        return figures

    async def _merged(self) -> None:
        """Have done what is due after weeks: a month that is over has become one part (m0009), others as merges leave them."""
        for table in _TABLES:
            for month in self._months_over(table):
                self._client.command(
                    f"OPTIMIZE TABLE {table} PARTITION {month} FINAL SETTINGS optimize_skip_merged_partitions = 1"
                )
        quiet = 0
        while quiet < _QUIET:
            await asyncio.sleep(1)
            ((merging,),) = self._client.query("SELECT count() FROM system.merges").result_rows
            quiet = 0 if merging else quiet + 1

    def _months_over(self, table: str) -> list[str]:
        asked = f"SELECT DISTINCT partition FROM system.parts WHERE database = '{_DATABASE}' AND table = '{table}' AND active"
        return sorted(month for (month,) in self._client.query(asked).result_rows)[:-1]

    def _deep(self) -> str:
        """A message near the end of the project's."""
        statement = f"""
            SELECT message_id FROM messages WHERE project_id = '{PROJECT}' ORDER BY project_id DESC, message_id LIMIT 1 OFFSET 2000
        """
        found: str = self._client.query(statement).result_rows[0][0]
        return found

    def _forget(self) -> None:
        """Caches of ClickHouse, and what the system holds of its files."""
        for cache in ("MARK", "UNCOMPRESSED", "INDEX MARK", "INDEX UNCOMPRESSED"):
            self._client.command(f"SYSTEM DROP {cache} CACHE")
        os.sync()
        for path in self._folder.rglob("*.bin"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    async def _page(self, filters: MessageFilters, after: str | None = None) -> _Cost:
        query = MessagesQuery(filters, _LIMIT, after)

        async def ask() -> int:
            return len(await self._reads.messages(PROJECT, query, count=_LIMIT + 1))

        return await self._cost(ask)

    async def _one(self, message_id: str) -> int:
        return int(await self._reads.message(PROJECT, message_id) is not None)

    async def _cost(self, ask: Callable[[], Awaitable[int]]) -> _Cost:
        """The longest time but one of twenty (p95), and the mean of all else."""
        (_, _), (rows, octets), (rows_before, octets_before) = (self._read_so_far() for _ in range(3))
        own_rows, own_octets = rows_before - rows, octets_before - octets  # of looking how many there are
        cpu, seconds = time.process_time(), []
        for _ in range(_ASKED):
            started = time.perf_counter()
            found = await ask()
            seconds.append(time.perf_counter() - started)
        cpu = time.process_time() - cpu
        rows, octets = self._read_so_far()
        seconds.sort()
        return _Cost(
            p50_ms=seconds[len(seconds) // 2] * 1000,
            p95_ms=seconds[-2] * 1000,
            cpu_ms=cpu / _ASKED * 1000,
            rows=(rows - rows_before - own_rows) / _ASKED,
            kilobytes=(octets - octets_before - own_octets) / _ASKED / 1000,
            found=found,
        )

    def _read_so_far(self) -> tuple[int, int]:
        """Rows and bytes, of all that was ever asked."""
        asked = "SELECT event, value FROM system.events WHERE event IN ('SelectedRows', 'SelectedBytes')"
        counted: dict[str, int] = dict(self._client.query(asked).result_rows)
        return counted.get("SelectedRows", 0), counted.get("SelectedBytes", 0)
