"""A suppression of one tag, and the mail that waits for its recipient (R11, R12)."""

from pathlib import Path

import pytest

from tests.kit import router_inputs as make
from tests.kit.router_log import RouterOnLog

ADDRESS = "ada@example.org"


@pytest.mark.parametrize(("scope", "status"), [("otp", "suppressed"), ("*", "suppressed"), ("news", "deferred")])
async def test_waiting_mail_is_looked_at_again_and_stopped_by_its_own_tags(
    tmp_path: Path, scope: str, status: str
) -> None:
    router = RouterOnLog(tmp_path)
    one = make.message_id()
    router.give(make.submit(one, tags=["shop", "otp"]))
    await router.settle()
    router.give(make.temporary(one))
    await router.settle()
    router.listing.add(ADDRESS, "unsubscribed", scope)
    await router.settle()
    assert router.statuses(one)[-1] == status


@pytest.mark.parametrize(("tags", "statuses"), [(["otp"], ["queued", "suppressed"]), ([], ["queued", "accepted"])])
async def test_new_mail_is_stopped_by_its_own_tags(tmp_path: Path, tags: list[str], statuses: list[str]) -> None:
    router = RouterOnLog(tmp_path)
    router.listing.add(ADDRESS, "unsubscribed", "otp")
    one = make.message_id()
    router.give(make.submit(one, tags=tags))
    await router.settle()
    assert router.statuses(one) == statuses


async def test_the_hand_out_says_the_tags_for_the_senders_last_look(tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path)
    router.give(make.submit(make.message_id(), tags=["shop", "otp"]))
    await router.settle()
    (delivery,) = router.live_deliveries()
    assert delivery["tags"] == ["shop", "otp"]
