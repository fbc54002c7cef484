"""When a call is tried again (R55): the documented formula, and whom it must never try again for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sendarix.errors import RateLimited, SendarixError, Unavailable
from sendarix.exchange import Answer, NoAnswer, Outcome, Request
from sendarix.retries import Policy, Verdict, Wait, backoff, decide

NOW = 1_800_000_000.0
POLICY = Policy()
GET = Request("GET", "/v1/messages/msg_1")
SEND = Request("POST", "/v1/messages", body=b"{}", idempotency_key="k")
CREATE = Request("POST", "/v1/webhooks", body=b"{}", repeatable=False)


def answer(status: int, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"{}")


def verdict(request: Request, outcome: Outcome, attempt: int = 0, jitter: float = 0.5) -> Verdict:
    return decide(request, outcome, attempt, jitter=jitter, now=NOW, policy=POLICY)


@given(attempt=st.integers(0, 2000), jitter=st.floats(0, 1))
def test_the_formula(attempt: int, jitter: float) -> None:
    assert backoff(attempt, jitter, POLICY) == (1.0 * 2**attempt + jitter if attempt < 6 else 60.0)


def test_the_waits_of_one_call_one_by_one() -> None:
    waits = [verdict(SEND, answer(503), attempt, jitter=0.25) for attempt in range(4)]
    assert waits == [Wait(1.25), Wait(2.25), Wait(4.25), Wait(8.25)]
    assert isinstance(verdict(SEND, answer(503), 4), Unavailable), "five attempts in all"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_is_taken(status: int) -> None:
    assert verdict(SEND, answer(status)) == answer(status)


REPEATED: list[tuple[Outcome, bool]] = [
    (answer(429), True),
    (answer(500), True),
    (answer(502), True),
    (answer(503), True),
    (answer(504), True),
    (NoAnswer("refused", sent=False), True),
    (NoAnswer("the time ran out", sent=True), True),
    *[(answer(status), False) for status in (301, 400, 401, 403, 404, 408, 409, 413, 422, 501)],
]


@pytest.mark.parametrize(("outcome", "again"), REPEATED)
@pytest.mark.parametrize("request_", [GET, SEND])
def test_what_is_tried_again(request_: Request, outcome: Outcome, again: bool) -> None:
    assert isinstance(verdict(request_, outcome), Wait if again else SendarixError)


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        (answer(429), True),
        (NoAnswer("refused", sent=False), True),
        (NoAnswer("the time ran out", sent=True), False),
        (answer(500), False),
        (answer(503), False),
    ],
)
def test_a_second_webhook_is_never_made_by_chance(outcome: Outcome, again: bool) -> None:
    """What doing twice would do harm is repeated only where it is certain that it was not done."""
    result = verdict(CREATE, outcome)
    assert isinstance(result, Wait) is again
    if not again:
        assert isinstance(result, Unavailable)
        assert result.outcome_unknown
        assert "look at the list before you repeat it" in str(result)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1.5),
        ({"retry_after": "1"}, 1.5),  # ours is longer
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "Fri, 15 Jan 2027 08:00:20 GMT"}, 20.0),
        ({"x_ratelimit_reset": "1800000030"}, 30.0),
        ({"x_ratelimit_reset": "1799999000"}, 1.5),  # in the past
        ({"retry_after": "5", "x_ratelimit_reset": "1800000030"}, 30.0),
        ({"retry_after": "soon", "x_ratelimit_reset": "-1"}, 1.5),
        ({"retry_after": "9" * 5000}, 1.5),
        ({"retry_after": "1e9"}, 1.5),
    ],
)
def test_the_server_may_ask_for_longer_never_for_shorter(headers: dict[str, str], seconds: float) -> None:
    assert verdict(SEND, answer(429, **headers)) == Wait(seconds)


def test_a_rate_limits_reset_says_nothing_about_an_outage() -> None:
    assert verdict(SEND, answer(503, x_ratelimit_reset="1800000030")) == Wait(1.5)


def test_no_call_sleeps_for_an_hour() -> None:
    result = verdict(SEND, answer(429, retry_after="3600"))
    assert isinstance(result, RateLimited)
    assert result.retry_after == 3600


@given(
    attempt=st.integers(0, 10),
    jitter=st.floats(0, 1),
    status=st.integers(100, 599),
    retry_after=st.text(max_size=20),
    request_=st.sampled_from([GET, SEND, CREATE]),
)
def test_whatever_a_server_says_the_wait_is_bounded(
    attempt: int, jitter: float, status: int, retry_after: str, request_: Request
) -> None:
    result = verdict(request_, answer(status, retry_after=retry_after), attempt, jitter)
    if isinstance(result, Wait):
        assert attempt < 4
        assert backoff(attempt, jitter, POLICY) <= result.seconds <= POLICY.patience
