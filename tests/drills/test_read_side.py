"""ClickHouse away under load, and the read side rebuilt under load: mail goes out all the same, and the ledger is even after (R37, R39)."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from tests.drills.faults import BEYOND_THE_SESSION, back, frozen
from tests.drills.field import Field
from tests.drills.load import Load
from tests.kit.waiting import until

pytestmark = pytest.mark.timeout(300)

Say = Callable[[str], None]


async def test_clickhouse_away_under_load(field: Field, dice: Random, say: Say) -> None:
    """D100: for the embedded engine that is its process, frozen beyond its session: reads are 503, no mail waits for it."""
    async with Load(field.stack, dice, "d100") as load:
        async with frozen(field.stack, "analytics"):
            await load.run(120, at_once=30)
            await until(lambda: field.in_flight(load) == 0, within=60)
            status, _, headers = await field.stack.call("GET", "/v1/messages")
            assert (status, "Retry-After" in headers) == (503, True)
            await asyncio.sleep(BEYOND_THE_SESSION / 3)
        assert await field.verdict(load) == []
        say(field.figures(load))


async def test_a_rebuild_under_load_whose_process_dies(field: Field, dice: Random, say: Say) -> None:
    """D102: every topic is replayed from its beginning beside the live tables; kill -9 in the midst, and it is finished."""
    enough = asyncio.Event()
    async with Load(field.stack, dice, "d102") as load:
        await load.run(40)
        sending = load.begin(load.flow(4, enough))
        asked = asyncio.create_task(asyncio.to_thread(field.stack.make, "rebuild"))
        logs = field.stack.run_dir / "logs"
        await until(lambda: any("rebuild_noted" in log.read_text() for log in logs.glob("analytics*")), within=120)
        await field.wait_in_flight(load, least=1)
        pid = field.stack.kill("analytics")
        field.assert_in_flight(load, "analytics died")
        done = await asked
        enough.set()
        await sending
        assert done.returncode == 0, done.stdout + done.stderr
        assert "done: " in done.stdout, done.stdout
        await back(field.stack, "analytics", after=pid)
        assert await field.verdict(load) == []
        say(f"{field.figures(load)}; {done.stdout.splitlines()[-1]}")
