"""Fixtures that every test may ask for."""

import gc
import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.kit.broker import LEARNT, QUICK_START, Broker, any_broker, provision_topics, started_broker

# For every Java of this run, those of stacks too.
os.environ.setdefault("JDK_JAVA_OPTIONS", f"{QUICK_START} -XX:AOTCache={LEARNT}" if LEARNT.exists() else QUICK_START)
# How quickly hypothesis draws is the machine's affair, not the product's.
_PHASES = (Phase.explicit, Phase.generate) if "TESTS_FIRST_EXAMPLE" in os.environ else tuple(Phase)
settings.register_profile("sendarix", deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=_PHASES)
settings.load_profile("sendarix")


def pytest_configure() -> None:
    """A collection of garbage amid the rewriting of assertions may break it (CPython 3.11: "AST … depth mismatch")."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One Kafka for the whole run, without topics of the product: use random topic and group names, never stop it."""
    with any_broker() as found:
        yield found


@pytest.fixture(scope="module")
def own_broker() -> Iterator[Broker]:
    """A Kafka of the test module's own, with every topic of topics.yaml: it may be killed, restarted, frozen, thawed."""
    with started_broker() as started:
        provision_topics(started.bootstrap_servers)
        yield started


LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mail servers of others can not come from a Python package: who has only Python and make runs the rest."""
    if os.geteuid() == 0 and all(shutil.which(name) for name in ("postfix", "smtp-sink", "opendkim")):
        return
    need = [item for item in items if item.get_closest_marker("debian")]
    config.stash[LEFT_OUT] = len(need)
    config.hook.pytest_deselected(items=need)
    items[:] = [item for item in items if item not in need]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{count} tests with Postfix and OpenDKIM left out: as root, "
            "apt-get install postfix opendkim opendkim-tools, and they run, too",
            yellow=True,
        )
