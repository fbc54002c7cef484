"""Names of blobs: their day says when they may go (R5; D13)."""

from datetime import UTC, datetime

import pytest

from chassis.blob_keys import blob_key, is_over, kept_until_ms


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_the_same_content_of_the_same_owner_has_one_name() -> None:
    key = blob_key(needed_until_ms=ms("2026-12-01T13:00:00"), owner="sub_1", sha256="ab")
    assert key == "2026-12-01/sub_1/ab"


def test_it_is_kept_to_the_end_of_its_day() -> None:
    assert kept_until_ms("2026-12-31/sub_1/ab") == ms("2027-01-01T00:00:00")


@pytest.mark.parametrize(
    ("now", "over"),
    [("2026-12-01T23:59:59", False), ("2026-12-02T00:00:00", True), ("2026-11-30T12:00:00", False)],
)
def test_the_sweeper_agrees_with_it(now: str, over: bool) -> None:
    assert is_over("2026-12-01", ms(now)) is over
    assert (kept_until_ms("2026-12-01/x/y") <= ms(now)) is over


@pytest.mark.parametrize("name", ["lost+found", "2026", "archive", "2026-1-1", ""])
def test_what_is_not_a_day_is_not_ours(name: str) -> None:
    assert not is_over(name, ms("2099-01-01T00:00:00"))
    with pytest.raises(ValueError, match="day"):
        kept_until_ms(f"{name}/x")
