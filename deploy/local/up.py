"""`make up`: check what can be checked, start the supervisor, show its progress, return when all is ready.

Whatever goes wrong is one sentence (CannotRunError), and nothing is left running.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from chassis.clock import SystemClock
from deploy.local.failure import CannotRunError, unusable
from deploy.local.kafka import VERSION, class_path, fetched, java
from deploy.local.layout import HOST, Layout
from deploy.local.lock import held, holder
from deploy.local.programs import ROOT
from deploy.local.readiness import missing_of
from deploy.local.settings import StackSettings
from deploy.local.supervisor import FAILED, READY

_FREE_BYTES = 1024**3  # Kafka alone preallocates some hundred MB
_READY_WITHIN = 120.0  # seconds, for a stack that somebody else is starting


def up(settings: StackSettings) -> None:
    """Start the stack, or find it running. Raises CannotRunError."""
    layout = Layout.of(settings)
    try:
        layout.run_dir.mkdir(parents=True, exist_ok=True)
        with held(layout.starting, wait=True):
            _up(settings, layout)
    except BrokenPipeError:
        raise  # our reader went away: that is no fault of the folder
    except OSError as error:
        raise unusable(layout.run_dir, error) from error


def _up(settings: StackSettings, layout: Layout) -> None:
    if pid := holder(layout.lock):
        print(f"A stack runs in {layout.run_dir} already (supervisor {pid}).")
        _refuse_other_knobs(settings, layout)
        asyncio.run(_await_running(layout))
    else:
        check(settings, layout)
        _start(layout)
    _show(layout)


def check(settings: StackSettings, layout: Layout) -> None:
    """What would stop the stack, before anything is started. Raises CannotRunError."""
    free = shutil.disk_usage(layout.run_dir).free
    if free < _FREE_BYTES:
        raise CannotRunError(
            f"Only {free // 1024**2} MB are free at {layout.run_dir}, and the stack needs {_FREE_BYTES // 1024**2}: "
            "free some space or set RUN_DIR to another disk."
        )
    for port, what in layout.ports(settings):
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            raise CannotRunError(
                f"Port {port}, meant for {what}, is not free ({os.strerror(error.errno or 0)}): "
                "end what listens there, or move the whole stack, as in `make up PORT_BASE=19080`."
            ) from error
    java()
    if not fetched():
        print(f"Fetching Apache Kafka {VERSION} (45 MB, once) …", flush=True)
    class_path()


def _start(layout: Layout) -> None:
    _keep_former_logs(layout)
    log = layout.log_file("supervisor")
    with log.open("ab") as errors:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            text=True,
            start_new_session=True,  # it outlives this terminal
        )
    assert supervisor.stdout is not None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _follow(supervisor.stdout, log)
    except BaseException:  # also Ctrl-C: nothing may stay behind
        supervisor.terminate()
        supervisor.wait()
        raise


def _follow(progress: IO[str], log: Path) -> None:
    for line in progress:
        text = line.rstrip()
        if text == READY:
            return
        if text.startswith(FAILED):
            raise CannotRunError(text.removeprefix(FAILED))
        print(text, flush=True)
    raise CannotRunError(f"The stack was ended while it started: see {log}, then `make up` again.")


def _keep_former_logs(layout: Layout) -> None:
    """The logs of the run before stay for one more."""
    former = layout.logs.with_name("logs.previous")
    shutil.rmtree(former, ignore_errors=True)
    if layout.logs.exists():
        layout.logs.rename(former)
    layout.logs.mkdir()


def _refuse_other_knobs(settings: StackSettings, layout: Layout) -> None:
    if not layout.running_settings.exists():
        return
    running = StackSettings(**json.loads(layout.running_settings.read_text()))
    if turned := settings.differences(running):
        raise CannotRunError(f"It runs with other {' and '.join(turned)}: `make down` first, then `make up` again.")


async def _await_running(layout: Layout) -> None:
    """Wait until every process of a running stack is ready."""
    clock = SystemClock()
    deadline = clock.monotonic() + _READY_WITHIN
    missing = {"the stack": ["stack.json"]}
    while missing:
        if clock.monotonic() > deadline:
            name, lacks = next(iter(missing.items()))
            raise CannotRunError(
                f"{name} did not get ready within {_READY_WITHIN:.0f} s ({', '.join(lacks)}): "
                f"see {layout.logs}, or start anew by `make down` and `make up`."
            )
        await clock.sleep(0.1)
        if layout.running_settings.exists() and layout.stack_json.exists():
            missing = await missing_in(json.loads(layout.stack_json.read_text()))


async def missing_in(stack: dict[str, Any]) -> dict[str, list[str]]:
    """What each process of the stack that is not ready still lacks."""
    parts = [process for process in stack["processes"] if process["url"]]
    lacks = await asyncio.gather(*(missing_of(process["url"]) for process in parts))
    return {f"{part['service']} {part['replica']}": found for part, found in zip(parts, lacks, strict=True) if found}


def _show(layout: Layout) -> None:
    stack = json.loads(layout.stack_json.read_text())
    print(
        f"""
Sendarix is up.
  API        {" ".join(stack["ingest"])}
  dashboard  {stack["url"]}/dashboard/ (sign in with the key in {layout.shell_file})
  mailbox    {stack["mailbox"]} (SMTP), what it keeps is in {layout.run_dir / "mailbox" / "new"}
  live mail  goes to {stack["upstream"]}
  Kafka      {stack["kafka"]}
  all of it  {layout.stack_json} (addresses, keys, pids)

Send a mail:
  . {layout.shell_file}
  curl -s $SENDARIX_URL/v1/messages -H "Authorization: Bearer $SENDARIX_API_KEY" -H "Content-Type: application/json" \\
    -d '{{"recipient": "ada@example.org", "subject": "Hello", "text": "Hello from Sendarix"}}'

`make status` shows it, `make logs` follows it, `make down` ends it."""
    )
