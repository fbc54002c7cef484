"""Every example of what the router reads is survived (R32), and its settings refuse what can not work."""

from pathlib import Path

import orjson
import pytest
from pydantic import ValidationError

from chassis.log import Outgoing
from services.router.settings import RouterSettings
from tests.kit import router_inputs as make
from tests.kit.examples import Example, examples_of
from tests.kit.router_log import RouterOnLog

EXAMPLES = [e for lane in ("express", "standard") for e in examples_of(f"message-inputs.{lane}")]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_every_input_example_is_decided(example: Example, tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path)
    one = make.message_id()
    router.give(make.submit(one))
    document = orjson.loads(example.value)
    document["data"]["message_id"] = document["subject"] = one
    router.log.append(Outgoing(router.inputs, one, orjson.dumps(document), 0))
    await router.settle()
    assert router.statuses(one)[:2] == ["queued", "accepted"]


@pytest.mark.parametrize("example", examples_of("message-state.standard"), ids=str)
async def test_every_state_example_is_restored(example: Example, tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path)
    key = orjson.loads(example.value)["subject"]
    router.log.append(Outgoing(router.changelog_topic, key, example.value, 0))
    router.kill()
    router.start()
    await router.settle()


@pytest.mark.parametrize("bad", [{"pool": "no such"}, {"retry_schedule": []}, {"admission_window": 0}])
def test_settings_that_can_not_work_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RouterSettings.model_validate(bad)


def test_the_admission_window_is_shared_by_the_partitions() -> None:
    settings = RouterSettings(admission_window=10)
    assert [settings.partition_window(partitions) for partitions in (1, 4, 12)] == [10, 3, 1]
