"""What an answer means (R31, D93, D95)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.domain.outcome import Answered, NoAnswer, judge
from tests.unit.webhooks.made import NOW_MS


def answered(status: int, retry_after: str | None = None) -> Answered:
    return Answered(status, retry_after, "said")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_has_arrived(status: int) -> None:
    assert judge(answered(status), NOW_MS).kind == "succeeded"


@pytest.mark.parametrize("status", [100, 301, 302, 307, 308, 400, 401, 404, 409, 429, 500, 502, 503, 504, 599])
def test_everything_else_failed_redirects_too(status: int) -> None:
    verdict = judge(answered(status), NOW_MS)
    assert (verdict.kind, verdict.status_code, verdict.response) == ("failed", status, "said")
    assert verdict.throttled == (status in {429, 502, 503, 504})


def test_410_ends_the_delivery() -> None:
    assert judge(answered(410), NOW_MS).kind == "ended"


@pytest.mark.parametrize("kind", ["timeout", "dns", "connect", "tls", "refused", "disconnected", "malformed"])
def test_no_answer_is_a_failure_and_a_time_out_throttles(kind: str) -> None:
    verdict = judge(NoAnswer(kind, "why"), NOW_MS)  # type: ignore[arg-type]  # one of the kinds
    assert (verdict.kind, verdict.error, verdict.throttled) == ("failed", f"{kind}: why", kind == "timeout")


@pytest.mark.parametrize(
    ("header", "ms"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0),
        ("120", 120_000),
        ("999999999999999999999", 999_999_999_000),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 59_877),
        ("Mon, 21 Sep 2026 14:14:20 -0000", 59_877),
        ("Mon, 21 Sep 1998 14:13:20 GMT", 0),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(header: str | None, ms: int | None) -> None:
    assert judge(answered(503, header), NOW_MS).retry_after_ms == ms


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]\d+", fullmatch=True))
def test_no_header_breaks_the_judgement(header: str) -> None:
    found = judge(answered(503, header), NOW_MS).retry_after_ms
    assert found is None or found >= 0
