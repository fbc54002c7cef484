"""What an endpoint's answer means for the delivery: arrived, to be tried again, or not wanted any more."""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal, assert_never

_GONE = 410
_THROTTLING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Answered:
    """The endpoint spoke HTTP. `text` is what was kept of the body."""

    status: int
    retry_after: str | None
    text: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """It did not. `detail` is ours, fit for the endpoint's owner to read."""

    kind: Literal["timeout", "dns", "connect", "tls", "refused", "disconnected", "malformed"]
    detail: str


Reply = Answered | NoAnswer


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ended`: the endpoint wants no more of this delivery (410). `throttled`: it needs time."""

    kind: Literal["succeeded", "failed", "ended"]
    throttled: bool = False
    retry_after_ms: int | None = None
    status_code: int | None = None
    error: str | None = None
    response: str | None = None


def judge(reply: Reply, now_ms: int) -> Verdict:
    """2xx has arrived, 410 ends the delivery, all else failed: redirects too, they are not followed."""
    match reply:
        case NoAnswer(kind, detail):
            return Verdict("failed", throttled=kind == "timeout", error=f"{kind}: {detail}")
        case Answered(status, _, text) if 200 <= status < 300:
            return Verdict("succeeded", status_code=status, response=text)
        case Answered(status, _, text) if status == _GONE:
            return Verdict("ended", status_code=status, error="the endpoint answered that it is gone", response=text)
        case Answered(status, retry_after, text):
            return Verdict(
                "failed",
                throttled=status in _THROTTLING,
                retry_after_ms=_retry_after_ms(retry_after, now_ms),
                status_code=status,
                error="redirects are not followed" if 300 <= status < 400 else f"status {status}",
                response=text,
            )
        case _:
            assert_never(reply)


def _retry_after_ms(header: str | None, now_ms: int) -> int | None:
    """RFC 9110 section 10.2.3: seconds, or a date. None where it says neither."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1000
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0, round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000) - now_ms)
