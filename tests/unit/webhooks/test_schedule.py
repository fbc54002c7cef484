"""When a failed delivery comes again (R31, D95)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.domain.schedule import Schedule
from services.webhooks.settings import WebhooksSettings

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
GAPS = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]


def the_default() -> Schedule:
    fields = WebhooksSettings.model_fields
    factory = fields["retry_schedule"].default_factory
    assert factory is not None
    return Schedule.of(factory())  # type: ignore[call-arg]  # pydantic types factories with and without arguments as one


def wait(
    attempt: int, *, throttled: bool = False, retry_after_ms: int | None = None, chance: float = 0.5
) -> int | None:
    return the_default().wait_ms(attempt, throttled=throttled, retry_after_ms=retry_after_ms, chance=chance)


def test_the_default_is_ten_attempts_over_three_days() -> None:
    assert [wait(attempt) for attempt in range(1, 10)] == GAPS
    assert wait(10) is None
    assert sum(GAPS) == 75 * HOUR + 35 * MINUTE + 5 * SECOND


@pytest.mark.parametrize("attempt", range(1, 10))
def test_jitter_is_a_fifth_to_both_sides(attempt: int) -> None:
    gap = GAPS[attempt - 1]
    assert wait(attempt, chance=0.0) == gap * 0.8
    assert wait(attempt, chance=0.999_999_999) == pytest.approx(gap * 1.2)


@given(attempt=st.integers(1, 9), chance=st.floats(0, 1, exclude_max=True))
def test_a_throttled_endpoint_gets_a_minute_at_least(attempt: int, chance: float) -> None:
    found = wait(attempt, throttled=True, chance=chance)
    plain = wait(attempt, chance=chance)
    assert found is not None
    assert plain is not None
    assert found >= max(MINUTE, plain)
    assert found <= max(1.5 * MINUTE, plain)


@pytest.mark.parametrize(
    ("attempt", "asked", "granted"),
    [
        (1, 0, 5 * SECOND),  # never sooner than the gap
        (1, 90 * SECOND, 90 * SECOND),
        (1, 2 * HOUR, HOUR),  # never later than an hour …
        (5, 7 * HOUR, 7 * HOUR),
        (5, 48 * HOUR, 10 * HOUR),  # … or twice the gap
    ],
)
def test_retry_after_is_honoured_within_bounds(attempt: int, asked: int, granted: int) -> None:
    assert wait(attempt, retry_after_ms=asked) == granted


def test_a_schedule_of_its_own_replaces_the_gaps() -> None:
    schedule = Schedule.of([timedelta(seconds=1), timedelta(seconds=1.5)])
    waits = [schedule.wait_ms(n, throttled=False, retry_after_ms=None, chance=0.5) for n in (1, 2, 3)]
    assert waits == [1000, 1500, None]
