"""A producer for the tests of the three consumers."""

from collections.abc import AsyncIterator

import pytest

from chassis.log import Log
from tests.kit.broker import Broker
from tests.kit.topics import kafka_settings


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[Log]:
    producing = Log(kafka_settings(broker.bootstrap_servers), client_id="test")
    await producing.start()
    yield producing
    await producing.stop()
