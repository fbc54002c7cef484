"""What an endpoint's answer means for the delivery. Pure."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

# The receiver asks for time, or is down behind its proxy: come back no sooner than in a minute.
_THROTTLED = frozenset({429, 502, 503, 504})


Fault = Literal["timeout", "connection", "dns", "tls", "refused_address"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request: a status, or why there is none. `retry_after` is in seconds, as the receiver asked."""

    status: int | None
    error: Fault | None = None
    retry_after: float | None = None
    response: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`delivered`; else whether trying again makes sense, and whether the receiver wants to be left alone a while."""

    delivered: bool
    final: bool
    throttled: bool


def judge(answer: Answer) -> Verdict:
    """2xx is success and nothing else is: a redirect is not followed, 410 says that nobody will ever listen there."""
    status = answer.status
    delivered = status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    throttled = answer.error == "timeout" or status in _THROTTLED
    return Verdict(delivered, final=delivered or status == HTTPStatus.GONE, throttled=throttled)
