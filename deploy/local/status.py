"""`make status` and `make logs`: what runs, and what it says."""

import asyncio
import json
import os

from deploy.local.failure import CannotRunError
from deploy.local.layout import Layout
from deploy.local.lock import holder
from deploy.local.up import missing_in


def status(layout: Layout) -> None:
    """A line per process. Raises CannotRunError where no stack runs."""
    if holder(layout.lock) is None or not layout.stack_json.exists():
        raise CannotRunError(f"No stack runs in {layout.run_dir}: `make up` starts one.")
    stack = json.loads(layout.stack_json.read_text())
    missing = asyncio.run(missing_in(stack))
    print(f"{'process':<14} {'pid':>8}  {'address':<28} state")
    for process in stack["processes"]:
        name = f"{process['service']} {process['replica']}"
        state = "waits for: " + ", ".join(missing[name]) if name in missing else "ready"
        print(f"{name:<14} {process['pid']:>8}  {process['url'] or '-':<28} {state}")


def logs(layout: Layout) -> None:
    """Follow all logs, in place of this process. Raises CannotRunError where there are none."""
    files = sorted(str(path) for path in layout.logs.glob("*.log"))
    if not files:
        raise CannotRunError(f"There are no logs in {layout.logs}: `make up` starts a stack.")
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])  # noqa: S606 — nothing of ours is left to do
