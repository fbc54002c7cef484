"""Fixed windows of a minute (R14)."""

from services.ingest.adapters.rate_limits import MemoryRateLimits
from services.ingest.ports import Allowance
from tests.unit.ingest.stand_ins import HandClock


def test_a_window_is_full_until_it_ends() -> None:
    clock = HandClock()
    limits = MemoryRateLimits(clock)
    ends = clock.ms // 1000 + 60
    assert [limits.take("a", 3).remaining for _ in range(3)] == [2, 1, 0]
    clock.ms += 59_999
    assert limits.take("a", 3) == Allowance(allowed=False, limit=3, remaining=0, reset_at=ends)
    assert limits.take("b", 3).allowed
    clock.ms += 1
    assert limits.take("a", 3) == Allowance(allowed=True, limit=3, remaining=2, reset_at=ends + 60)


def test_looking_does_not_count() -> None:
    limits = MemoryRateLimits(HandClock())
    assert [limits.look("a", 3).remaining for _ in range(5)] == [3] * 5
    assert limits.take("a", 3).remaining == 2


def test_what_has_ended_is_forgotten() -> None:
    """A flood of addresses must not fill the memory."""
    clock = HandClock()
    limits = MemoryRateLimits(clock)
    for number in range(1000):
        limits.take(f"address:{number}", 3)
        clock.ms += 1
    clock.ms += 60_000
    limits.take("address:x", 3)
    assert list(limits._windows) == ["address:x"]
