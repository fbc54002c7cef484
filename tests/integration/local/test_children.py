"""Processes that are kept running: restarted when they die, ended in time, never left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.service import Crash
from deploy.local.children import RESTART_AFTER, Child, Children
from deploy.local.credentials import load_or_create
from deploy.local.description import describe, publish
from deploy.local.layout import Layout
from deploy.local.lock import alive
from deploy.local.programs import Program
from deploy.local.settings import StackSettings
from tests.integration.local.processes import becomes_true
from tests.kit.waiting import until

_SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _SLEEPS
_KEEPER = """
import asyncio, sys
from pathlib import Path
from chassis.clock import SystemClock
from chassis.service import Crash
from deploy.local.children import Children
from deploy.local.programs import Program

async def main():
    children = Children(SystemClock(), Crash(), lambda: None)
    child = await children.start(Program("x", 1, "", (sys.executable, "-c", "import time; time.sleep(600)"), {}, Path(sys.argv[1])))
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


class Kept:
    """Children whose description is written as the supervisor writes it."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder, 20000)
        self._credentials = load_or_create(self.layout.secrets, 0)
        self.children = Children(SystemClock(), Crash(), self._publish)

    def _publish(self) -> None:
        publish(self.layout, describe(self.layout, StackSettings(), self._credentials, self.children.all))

    @property
    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.layout.stack_json.read_text())
        return found

    def pid(self, service: str) -> int:
        return int(next(p["pid"] for p in self.described["processes"] if p["service"] == service))

    async def start(self, service: str, code: str) -> Child:
        log = self.layout.log_file(service)
        child = await self.children.start(Program(service, 1, "", (sys.executable, "-c", code), {}, log))
        await until(lambda: b"up" in log.read_bytes())
        return child


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    await kept.children.stop(kept.children.all, within=5)


async def test_a_killed_process_is_restarted_and_stack_json_names_the_new_one(kept: Kept) -> None:
    clock = SystemClock()
    router, sender = await kept.start("router", _SLEEPS), await kept.start("sender", _SLEEPS)
    old, other = router.pid, sender.pid
    assert (kept.pid("router"), kept.pid("sender")) == (old, other)
    killed_at = clock.monotonic()
    os.kill(old, signal.SIGKILL)
    await until(lambda: kept.pid("router") != old)
    assert clock.monotonic() - killed_at >= RESTART_AFTER
    assert kept.pid("router") == router.pid
    assert alive(router.pid)
    assert not alive(old)
    assert kept.pid("sender") == other
    assert (router.exits, router.last_exit) == (1, -signal.SIGKILL)


async def test_a_process_that_always_ends_is_tried_again_and_again(kept: Kept) -> None:
    child = await kept.start("router", "print('up'); raise SystemExit(3)")
    await until(lambda: child.exits >= 3)
    assert child.last_exit == 3


async def test_stop_ends_the_willing_the_frozen_and_the_stubborn(kept: Kept) -> None:
    children = [await kept.start("a", _SLEEPS), await kept.start("b", _SLEEPS), await kept.start("c", _STUBBORN)]
    os.kill(children[1].pid, signal.SIGSTOP)
    await kept.children.stop(children, within=2)
    assert [child.process.returncode for child in children] == [-signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL]
    assert kept.children.all == ()
    await asyncio.sleep(2 * RESTART_AFTER)  # nobody brings them back
    assert not [child for child in children if alive(child.pid)]


async def test_a_process_that_dies_while_all_are_stopped_stays_dead(kept: Kept) -> None:
    child = await kept.start("router", _SLEEPS)
    os.kill(child.pid, signal.SIGKILL)
    await child.process.wait()
    await kept.children.stop([child], within=1)
    await asyncio.sleep(2 * RESTART_AFTER)
    assert not alive(child.pid)


async def test_stack_json_holds_keys_so_only_its_owner_reads_it(kept: Kept) -> None:
    await kept.start("router", _SLEEPS)
    for path in (kept.layout.stack_json, kept.layout.shell_file):
        assert path.stat().st_mode & 0o077 == 0
    assert set(kept.described) == {"url", "ingest", "keys", "kafka", "upstream", "mailbox", "processes"}
    assert set(kept.described["keys"]) == {"live", "test", "admin", "standard"}


def test_children_of_a_killed_supervisor_die_with_it(tmp_path: Path) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", _KEEPER, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    with keeper:
        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
        assert alive(pid)
        keeper.kill()
        assert becomes_true(lambda: not alive(pid))
