"""The whole of `make up` and `make down`, with small stand-ins for the five services: what a person sees."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.failure import CannotRunError
from deploy.local.layout import Layout
from deploy.local.lock import alive
from deploy.local.settings import SERVICES, StackSettings
from deploy.local.up import check
from tests.integration.local.processes import becomes_true

_ROOT = Path(__file__).parents[3]
_STAND_IN = """
from chassis.http import HttpServer, create_app
from chassis.service import Crash, run
from chassis.settings import ServiceSettings, load_settings
from pydantic_settings import SettingsConfigDict


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="{prefix}_", extra="ignore")


settings = load_settings(Settings)


class StandIn:
    def __init__(self):
        self.crash = Crash()
        self.parts = [HttpServer(create_app("stand-in", lambda: []), settings.host, settings.port, self.crash)]


async def build():
    return StandIn()


run("{name}", settings, build)
"""


class Made:
    """A copy of the repository with stand-ins for services, and a stack of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_dir = root / "run"
        self.port_base = _free_base()
        for folder in ("deploy", "chassis", "rules", "schemas"):
            shutil.copytree(_ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for service in SERVICES:
            self.replace(service, _STAND_IN.format(prefix=service.upper(), name=service))
        ingest = Path("services/ingest")  # what the seed makes keys and records with, but not what would run
        kept = shutil.ignore_patterns("__pycache__", "__main__.py")
        shutil.copytree(_ROOT / ingest, root / ingest, ignore=kept, dirs_exist_ok=True)

    def replace(self, service: str, code: str) -> None:
        folder = self.root / "services" / service
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__main__.py").write_text(code)

    def run(self, command: str, **knobs: str) -> subprocess.CompletedProcess[str]:
        own = {"PYTHONPATH": str(self.root), "RUN_DIR": str(self.run_dir), "PORT_BASE": str(self.port_base)}
        return subprocess.run(
            [sys.executable, "-m", "deploy.local", command],
            cwd=self.root,
            env={**os.environ, **own, **knobs},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    @property
    def description(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_dir / "stack.json").read_text())
        return found

    def pids(self) -> dict[str, int]:
        return {f"{p['service']} {p['replica']}": p["pid"] for p in self.description["processes"]}


def _free_base() -> int:
    """A PORT_BASE whose 60 ports are free."""
    for base in range(22000, 32000, 100):
        try:
            for port in (base, base + 50, base + 51, base + 52):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    made = Made(tmp_path_factory.mktemp("stack"))
    yield made
    made.run("down")


@pytest.mark.timeout(240)  # a dozen interpreters start, one after another
def test_up_again_down(made: Made) -> None:
    """`make up` returns when all are ready, is harmless to repeat, and `make down` ends every process."""
    done = made.run("up", REPLICAS="ingest=2 router=2", UPSTREAM="127.0.0.1:2525")
    assert done.returncode == 0, done.stdout + done.stderr
    stack, pids = made.description, made.pids()
    assert set(pids) == {
        *("supervisor 1", "kafka 1", "mailbox 1", "ingest 1", "ingest 2"),
        *("router 1", "router 2", "sender 1", "webhooks 1", "analytics 1"),
    }
    assert stack["url"] == stack["ingest"][0]
    assert len(stack["ingest"]) == 2
    assert (stack["upstream"], stack["mailbox"]) == ("127.0.0.1:2525", f"127.0.0.1:{made.port_base + 52}")
    for process in stack["processes"]:
        assert alive(process["pid"])
        if process["url"].startswith("http"):
            assert urllib.request.urlopen(f"{process['url']}/health/ready").status == 200

    again = made.run("up")
    assert again.returncode == 0
    assert "already" in again.stdout
    assert made.pids() == pids

    other = made.run("up", REPLICAS="ingest=1")
    assert other.returncode == 1
    assert other.stderr == "It runs with other REPLICAS: `make down` first, then `make up` again.\n"

    os.kill(pids["router 2"], signal.SIGKILL)
    os.kill(pids["mailbox 1"], signal.SIGKILL)
    assert becomes_true(lambda: made.pids()["router 2"] != pids["router 2"])
    assert becomes_true(lambda: made.pids()["mailbox 1"] != pids["mailbox 1"])
    assert made.run("up").returncode == 0
    assert "waits for" not in made.run("status").stdout

    pids = made.pids()
    assert made.run("down").returncode == 0
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert made.run("status").returncode == 1
    assert made.run("down").returncode == 0


def test_a_service_that_does_not_get_ready_is_one_sentence_and_nothing_stays(made: Made) -> None:
    made.replace("sender", "raise RuntimeError('broken')")
    try:
        done = made.run("up")
    finally:
        made.replace("sender", _STAND_IN.format(prefix="SENDER", name="sender"))
    log = made.run_dir / "logs" / "sender-1.log"
    assert done.returncode == 1
    assert done.stderr == (f"sender 1 ended with status 1 instead of getting ready: see {log}, then `make up` again.\n")
    for port in (made.port_base, made.port_base + 50, made.port_base + 52):
        socket.create_server(("127.0.0.1", port)).close()
    assert not (made.run_dir / "stack.json").exists()


def test_a_port_in_use_is_one_sentence(made: Made) -> None:
    port = made.port_base + 20
    with socket.create_server(("127.0.0.1", port)):
        done = made.run("up")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {port}, meant for sender 1, is not free (Address already in use): ")
    assert "PORT_BASE" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StackSettings(run_dir=tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5 * 1024**2))
    with pytest.raises(CannotRunError, match=r"^Only 5 MB are free at .*: free some space or set RUN_DIR"):
        check(settings, Layout.of(settings))


def test_reset_wipes_a_stack_and_nothing_else(made: Made, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    refused = made.run("reset", RUN_DIR=str(tmp_path))
    assert refused.returncode == 1
    assert "was not made by `make up`" in refused.stderr
    assert (tmp_path / "precious").exists()
    made.run_dir.mkdir(exist_ok=True)
    (made.run_dir / "supervisor.lock").touch()
    assert made.run("reset").returncode == 0
    assert not made.run_dir.exists()
