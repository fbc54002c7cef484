"""When a failed delivery is tried again: the example schedule of Standard Webhooks, 75 hours and a half in all. Pure."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from services.webhooks.domain.verdict import Answer, Verdict

_LEAST_WHEN_THROTTLED = timedelta(minutes=1)
_MOST_TO_HONOUR = timedelta(hours=1)  # of a Retry-After beyond the schedule
_SPREAD = 0.2  # a fifth either way, so that what failed together does not come back together


def next_attempt_ms(
    delivery_id: str, attempt: int, answer: Answer, verdict: Verdict, gaps: Sequence[timedelta], now_ms: int
) -> int | None:
    """Unix ms of attempt `attempt` + 1, or None where the schedule is spent. `gaps[n - 1]` follows attempt n."""
    if verdict.final or attempt > len(gaps):
        return None
    wait = gaps[attempt - 1] * (1 + _SPREAD * _chance(delivery_id, attempt))
    if verdict.throttled:
        wait = max(wait, _LEAST_WHEN_THROTTLED)
    if answer.retry_after is not None:
        most = max(2 * wait, _MOST_TO_HONOUR)
        wait = min(max(wait, timedelta(seconds=answer.retry_after)), most)
    return now_ms + round(wait.total_seconds() * 1000)


def _chance(delivery_id: str, attempt: int) -> float:
    """Between -1 and 1, the same for the same attempt: what is decided twice is decided alike."""
    digest = hashlib.sha256(f"{delivery_id}#{attempt}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**63 - 1
