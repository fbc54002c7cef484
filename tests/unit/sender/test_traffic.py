"""How long one waits, told from how long transactions take (R21)."""

import pytest

from services.sender.domain.traffic import Traffic


def under_way(*ages_ms: int, took_ms: int | None = None, now_ms: int = 1_000_000) -> Traffic:
    """Some on their way for so long, after one that took so long."""
    traffic = Traffic()
    if took_ms is not None:
        traffic.enter("before", now_ms - took_ms - 60_000)
        traffic.leave("before", now_ms - 60_000)
    for number, age_ms in enumerate(sorted(ages_ms, reverse=True)):
        traffic.enter(number, now_ms - age_ms)
    return traffic


@pytest.mark.parametrize(
    ("traffic", "ahead", "expected"),
    [
        (under_way(), 0, None),  # nobody is on the way, so it is something else that one waits for
        (under_way(999, 500), 0, None),
        (under_way(1000, 1000), 0, 500),  # no news for so long: as long again
        (under_way(0, 0, took_ms=4000), 0, 2000),
        (under_way(0, 0, took_ms=4000), 9, 20_000),
        (under_way(3999, 3999, took_ms=4000), 0, 2000),
        (under_way(8000, 0, took_ms=4000), 2, 8000),  # one of them is late
        (under_way(60_000, 60_000, took_ms=100), 0, 30_000),  # both hang
    ],
)
def test_what_is_on_its_way_takes_as_long_as_usual_and_what_is_late_as_long_again(
    traffic: Traffic, ahead: int, expected: float | None
) -> None:
    assert traffic.wait_ms(ahead, 1_000_000) == (None if expected is None else pytest.approx(expected))


def test_what_is_usual_follows_slowly() -> None:
    traffic = under_way(took_ms=1000)
    for _ in range(10):
        traffic.enter("next", 0)
        traffic.leave("next", 100)
    traffic.enter("last", 0)
    assert traffic.wait_ms(0, 0) == pytest.approx(197, abs=1)
