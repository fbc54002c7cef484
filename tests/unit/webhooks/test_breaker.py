"""The circuit breaker of an endpoint (R31, D95)."""

import pytest

from services.webhooks.domain.breaker import LONGEST_PAUSE_MS, WINDOW_MS, Breaker
from tests.unit.webhooks.made import NOW_MS


def told(breaker: Breaker, *outcomes: bool, at: int = NOW_MS) -> Breaker:
    """Requests one after the other; True failed."""
    for failed in outcomes:
        breaker.ended(probe=breaker.started(), failed=failed, now_ms=at)
    return breaker


def tripped() -> Breaker:
    return told(Breaker(), *[True] * 10)


def test_nine_failures_are_too_few() -> None:
    assert told(Breaker(), *[True] * 9).opens_at_ms() == 0


def test_ten_failures_open_it_for_thirty_seconds() -> None:
    breaker = tripped()
    assert breaker.opens_at_ms() == NOW_MS + 30_000
    assert breaker.state(NOW_MS + 29_999) == "open"
    assert breaker.state(NOW_MS + 30_000) == "half_open"


@pytest.mark.parametrize(("failures", "state"), [(14, "open"), (13, "closed")])
def test_it_takes_70_percent(failures: int, state: str) -> None:
    outcomes = [False] * (20 - failures) + [True] * failures
    assert told(Breaker(), *outcomes).state(NOW_MS) == state


def test_what_is_older_than_five_minutes_does_not_count() -> None:
    breaker = told(Breaker(), *[True] * 9)
    assert told(breaker, True, at=NOW_MS + WINDOW_MS).state(NOW_MS + WINDOW_MS) == "closed"


def test_one_probe_at_a_time() -> None:
    breaker = tripped()
    assert breaker.started()
    assert breaker.opens_at_ms() is None
    breaker.ended(probe=True, failed=None, now_ms=NOW_MS + 31_000)  # it told nothing
    assert breaker.opens_at_ms() == NOW_MS + 30_000


def test_a_good_probe_closes_it_with_a_clean_slate() -> None:
    breaker = told(tripped(), False, at=NOW_MS + 31_000)
    assert breaker.state(NOW_MS + 31_000) == "closed"
    assert told(breaker, *[True] * 9, at=NOW_MS + 31_000).opens_at_ms() == 0


def test_bad_probes_double_the_pause_up_to_ten_minutes() -> None:
    breaker, now = tripped(), NOW_MS
    pauses = []
    for _ in range(7):
        opens_at = breaker.opens_at_ms()
        assert opens_at is not None
        pauses.append(opens_at - now)
        now = opens_at
        told(breaker, True, at=now)
    assert pauses == [30_000, 60_000, 120_000, 240_000, 480_000, LONGEST_PAUSE_MS, LONGEST_PAUSE_MS]


def test_requests_begun_before_the_trip_change_nothing_after_it() -> None:
    breaker = Breaker()
    early = breaker.started()
    told(breaker, *[True] * 10)
    breaker.ended(probe=early, failed=False, now_ms=NOW_MS + 1)
    assert breaker.state(NOW_MS + 1) == "open"


def test_it_is_quiet_when_there_is_nothing_to_remember() -> None:
    assert Breaker().quiet(NOW_MS)
    assert not told(Breaker(), True).quiet(NOW_MS)
    assert told(Breaker(), True).quiet(NOW_MS + WINDOW_MS)
    assert not tripped().quiet(NOW_MS + WINDOW_MS)
