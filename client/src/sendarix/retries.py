"""Whether to try again, and when: pure, so that a table of cases is its test.

delay = min(base · 2^attempt + jitter, longest), at most five attempts; what the server asks for counts where it is longer.
This module must never wait, read a clock or make a random number itself.
"""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from sendarix.errors import SendarixError, error_of
from sendarix.exchange import Answer, NoAnswer, Outcome, Request

# 502 and 504 come from proxies before us and mean what 503 does.
_UNCERTAIN: Final = frozenset({500, 502, 503, 504})
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds and counts. A server that asks for a wait above `patience` is obeyed by giving up: no call sleeps for hours."""

    base: float = 1.0
    longest: float = 60.0
    attempts: int = 5
    patience: float = 300.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after so many seconds."""

    seconds: float


Verdict = Answer | Wait | SendarixError


def backoff(attempt: int, jitter: float, policy: Policy) -> float:
    """Seconds after the attempt of this number (from 0); `jitter` is 0 to 1 s."""
    doubled = 2.0 ** min(attempt, 64)  # far above any `longest`, and no float overflows
    return min(policy.base * doubled + jitter, policy.longest)


def decide(request: Request, outcome: Outcome, attempt: int, *, jitter: float, now: float, policy: Policy) -> Verdict:
    """The answer where it is a success, else a wait, else the error to raise. `attempt` counts from 0, `now` is Unix time."""
    if isinstance(outcome, Answer) and 200 <= outcome.status < 300:
        return outcome
    asked = wait_asked(outcome, now) if isinstance(outcome, Answer) else 0.0
    seconds = max(backoff(attempt, jitter, policy), asked)
    if attempt + 1 < policy.attempts and seconds <= policy.patience and _may_repeat(request, outcome):
        return Wait(seconds)
    return error_of(request, outcome, asked)


def wait_asked(answer: Answer, now: float) -> float:
    """How long the server asks to wait: Retry-After, and on 429 the moment at which the rate limit is free again."""
    after = _retry_after(answer.headers.get("retry-after", ""), now)
    reset = _number(answer.headers.get("x-ratelimit-reset", "")) if answer.status == _TOO_MANY else None
    return max(after, 0.0 if reset is None else reset - now, 0.0)


def _may_repeat(request: Request, outcome: Outcome) -> bool:
    """A request that is not repeatable is repeated only where it is known that it was not carried out."""
    match outcome:
        case NoAnswer(sent=False) | Answer(status=429):
            return True
        case NoAnswer():
            return request.repeatable
        case Answer(status=status):
            return request.repeatable and status in _UNCERTAIN


def _retry_after(text: str, now: float) -> float:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0


def _number(text: str) -> float | None:
    digits = text.strip()
    return float(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 12 else None
