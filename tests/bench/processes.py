"""Processes beside the stack, and what processes cost: CPU seconds and memory from /proc."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SMTP_SINK = "/usr/sbin/smtp-sink"
_TICKS = os.sysconf("SC_CLK_TCK")
_LISTENS_WITHIN = 15.0  # seconds


def cpu_seconds(pid: int) -> float:
    """User and system time so far, threads and children included, those that ended, too: Postfix's do all the time."""
    found = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found += sum(map(cpu_seconds, map(int, (thread / "children").read_text().split())))
    return found + _own_cpu_seconds(pid)


def _own_cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS  # its own, and what it knows of children that have ended


def cpu_seconds_by_thread(pid: int) -> dict[int, tuple[str, float]]:
    """Of a process's threads that live: their names, and user and system time so far."""
    found: dict[int, tuple[str, float]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            name, _, fields = (task / "stat").read_text().partition("(")[2].rpartition(")")
            found[int(task.name)] = name, sum(map(int, fields.split()[11:13])) / _TICKS
    return found


class Meter:
    """CPU seconds of named processes since it was made."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}


@contextlib.contextmanager
def beside(module: str, port: int, *arguments: str) -> Iterator[int]:
    """`python -m module port …` until the block ends; its pid once it listens."""
    with _listening(port, [sys.executable, "-m", module, str(port), *arguments]) as pid:
        yield pid


@contextlib.contextmanager
def smtp_sink(port: int) -> Iterator[int]:
    """Postfix's sink, which costs next to nothing, until the block ends; its pid."""
    with _listening(port, [SMTP_SINK, "-u", "nobody", f"127.0.0.1:{port}", "1000"]) as pid:
        yield pid


@contextlib.contextmanager
def _listening(port: int, command: Sequence[str]) -> Iterator[int]:
    process = subprocess.Popen(command)
    try:
        _wait_for(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def held(pid: int) -> Iterator[None]:
    """The process stands still until the block ends."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def resident_mb(pid: int) -> float:
    """What the process holds in memory now."""
    fields = Path(f"/proc/{pid}/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) / 1024


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _LISTENS_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
