"""The seed of a run, the lines it ends with, and the one stack that the short drills share."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from tests.drills.field import REPLY_AFTER, Field, field_of
from tests.drills.settings import DrillSettings
from tests.kit.smtp_server import At, Fault

_SEED = pytest.StashKey[int]()
_LINES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="repeat the choices of a drill run")


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--seed", default=None)
    seed = given if given is not None else DrillSettings().seed
    config.stash[_SEED] = seed if seed is not None else secrets.randbelow(2**32)
    config.stash[_LINES] = []
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # of a broker that was killed it has nothing new to say


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.write_line(f"drills: --seed {config.stash[_SEED]}")
    for line in config.stash[_LINES]:
        terminalreporter.write_line(f"  {line}")


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> Random:
    """All choices of one drill; the run's seed repeats them."""
    return Random(f"{request.config.stash[_SEED]}/{request.node.name}")


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A line for the end of the run: a drill's figures."""
    return lambda text: request.config.stash[_LINES].append(f"{request.node.name}: {text}")


def slow_reply(at: At, recipient: str) -> Fault | None:
    """A server that takes its time."""
    del recipient
    return Fault(delay=REPLY_AFTER) if at == "reply" else None


@pytest.fixture(scope="package")
async def field(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Field]:
    async with field_of(tmp_path_factory.mktemp("run"), 26000, slow_reply) as shared:
        yield shared
