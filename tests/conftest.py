"""Fixtures that every test may ask for."""

from collections.abc import Iterator

import pytest

from tests.kit.broker import Broker, any_broker, provision_topics, started_broker


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
