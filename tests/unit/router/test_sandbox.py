"""What the sandbox's answers do to the list of a project: nothing (R13)."""

from pathlib import Path

import pytest

from schemas.inputs import Feedback
from schemas.topics import TOPICS
from tests.kit import router_inputs as make
from tests.kit.router_log import RouterOnLog


def complaint(of: str) -> Feedback:
    return Feedback(
        message_id=of,
        feedback_id="fbk_1",
        kind="complaint",
        received_at_ms=make.START_MS,
        provider=None,
        by="sandbox",
    )


@pytest.mark.parametrize("environment", ["live", "test"])
async def test_mail_of_a_test_key_bounces_and_complains_and_lists_nobody(tmp_path: Path, environment: str) -> None:
    router = RouterOnLog(tmp_path)
    gone, angry = make.message_id(), make.message_id()
    router.give(make.submit(gone, environment=environment), make.submit(angry, environment=environment))
    await router.settle()
    router.give(make.delivered(angry), make.permanent(gone, category="invalid_recipient"), complaint(angry))
    await router.settle()
    assert router.statuses(gone)[-1] == "bounced"
    assert router.events(angry)[-1]["type"] == "message.complained"
    listed = {entry["data"]["origin"] for entry in router.log.values(TOPICS["suppressions"].name)}
    told = router.log.values(TOPICS["account-events"].name)
    assert (listed, len(told)) == (({"bounce", "complaint"}, 2) if environment == "live" else (set(), 0))
