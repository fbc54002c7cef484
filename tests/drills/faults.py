"""The faults: signals to processes that stack.json and supervisor.lock name, and the wait until they are back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local.lock import holder
from deploy.local.readiness import missing_of
from tests.kit.stack import Stack
from tests.kit.waiting import eventually

BACK_WITHIN = 90.0  # seconds: a start takes three, a restore some more, a loaded machine its time
# Longer than the local stack's session time-out of 6 s, and than a lease that ends with it.
BEYOND_THE_SESSION = 9.0


async def back(stack: Stack, service: str, replica: int = 1, *, after: int) -> None:
    """Wait until the process that follows the pid `after` is ready."""

    async def is_back() -> bool:
        return stack.pid(service, replica) != after and await ready(stack, service, replica)

    await eventually(is_back, within=BACK_WITHIN, every=0.2)


async def ready(stack: Stack, service: str, replica: int = 1) -> bool:
    return not await missing_of(url_of(stack, service, replica))


def url_of(stack: Stack, service: str, replica: int) -> str:
    return next(
        str(process["url"])
        for process in stack.description["processes"]
        if (process["service"], int(process["replica"])) == (service, replica)
    )


async def restarted(stack: Stack, service: str, replica: int = 1) -> None:
    """SIGTERM, as a deployment does, and wait for the next one."""
    pid = stack.pid(service, replica)
    os.kill(pid, signal.SIGTERM)
    await back(stack, service, replica, after=pid)


@asynccontextmanager
async def frozen(stack: Stack, service: str, replica: int = 1) -> AsyncIterator[None]:
    """SIGSTOP for the time of the block: connections stay, nothing is answered, no clock of it goes on."""
    pid = stack.pid(service, replica)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def broker_away(stack: Stack) -> AsyncIterator[None]:
    """kill -9 of the broker, and nobody to start it again for the time of the block."""
    supervisor = holder(stack.run_dir / "supervisor.lock")
    assert supervisor is not None
    killed = stack.pid("kafka")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(killed, signal.SIGKILL)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
    await back(stack, "kafka", after=killed)


async def settled(stack: Stack) -> None:
    """Wait until every process is ready again. Raises AssertionError with what is missing where."""
    missing: dict[str, list[str]] = {}

    async def all_ready() -> bool:
        processes = [process for process in stack.description["processes"] if process["service"] != "supervisor"]
        found = await asyncio.gather(*(missing_of(str(process["url"])) for process in processes))
        names = [f"{process['service']} {process['replica']}" for process in processes]
        missing.clear()
        missing.update({name: lacks for name, lacks in zip(names, found, strict=True) if lacks})
        return not missing

    try:
        await eventually(all_ready, within=BACK_WITHIN, every=0.3)
    except TimeoutError as error:
        raise AssertionError(f"not ready again within {BACK_WITHIN} s: {missing}") from error
