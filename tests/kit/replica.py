"""Processes that a test kills, freezes and thaws, and that never outlive it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

from tests.kit.counting_owner import Counting
from tests.kit.tracked_worker import Working


class Replica:
    """One process of the counting service, or one worker."""

    def __init__(self, setup: Counting | Working) -> None:
        module = "tests.kit.counting_owner" if isinstance(setup, Counting) else "tests.kit.tracked_worker"
        command = [sys.executable, "-m", module, json.dumps(asdict(setup))]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)


@asynccontextmanager
async def replicas(setup: Counting, *owner_ids: str) -> AsyncIterator[dict[str, Replica]]:
    """Started replicas by owner id; more may be put in. All are killed at the end."""
    started = {owner_id: Replica(replace(setup, owner_id=owner_id)) for owner_id in owner_ids}
    try:
        yield started
    finally:
        for replica in started.values():
            await asyncio.to_thread(replica.kill)
