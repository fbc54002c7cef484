"""One small stack for the tests that look at one message at a time."""

from collections.abc import AsyncIterator

import pytest

from tests.kit.stack import Stack


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    knobs = {"RETRY_SCHEDULE": "1s,1s,2s,2s,3s", "REPLICAS": "ingest=2"}
    async with Stack(tmp_path_factory.mktemp("run"), port_base=21000, knobs=knobs) as running:
        yield running
