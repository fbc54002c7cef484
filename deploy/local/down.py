"""`make down` and `make reset`: end the stack, and with `reset` remove what it kept."""

import asyncio
import os
import shutil
import signal

from chassis.clock import SystemClock
from deploy.local.description import withdraw
from deploy.local.failure import CannotRunError
from deploy.local.layout import Layout
from deploy.local.lock import alive, holder

_WITHIN = 60.0  # seconds: 25 for the services, 10 each for the mailbox and Kafka, and some to spare


def down(layout: Layout) -> None:
    """End the stack in RUN_DIR; harmless where none runs."""
    pid = holder(layout.lock)
    if pid is None:
        withdraw(layout)
        print(f"No stack runs in {layout.run_dir}.")
        return
    print("Ending the services, the mailbox and Kafka …", flush=True)
    os.kill(pid, signal.SIGTERM)
    if not asyncio.run(_ended(layout, pid)):
        os.kill(pid, signal.SIGKILL)  # its children die with it
        withdraw(layout)
        print(f"The supervisor did not end by itself and was killed: see {layout.log_file('supervisor')}.")
        return
    print("All of it has ended; its data stay in " + str(layout.run_dir) + ".")


def reset(layout: Layout) -> None:
    """End the stack and remove RUN_DIR. Raises CannotRunError where that is no folder of ours."""
    if not layout.run_dir.exists():
        print(f"{layout.run_dir} is not there: nothing to wipe.")
        return
    if not layout.lock.exists():
        raise CannotRunError(
            f"{layout.run_dir} was not made by `make up`, so it is not wiped: set RUN_DIR right, or remove it yourself."
        )
    down(layout)
    shutil.rmtree(layout.run_dir)
    print(f"{layout.run_dir} is wiped.")


async def _ended(layout: Layout, pid: int) -> bool:
    clock = SystemClock()
    deadline = clock.monotonic() + _WITHIN
    while holder(layout.lock) is not None or alive(pid):
        if clock.monotonic() > deadline:
            return False
        await clock.sleep(0.05)
    return True
