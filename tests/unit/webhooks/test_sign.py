"""Standard Webhooks signatures, judged by the reference library (R31, D96)."""

import base64
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.webhooks.domain.sign import keys_of, signed_headers

BODY = '{"type":"message.delivered","subject":"Grüße"}'.encode()


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


OLD, NEW = secret_of(b"o" * 32), secret_of(b"n" * 32)


def now_ms() -> int:
    return time.time_ns() // 1_000_000  # the library compares with its own clock


def headers_of(secrets: str, *, body: bytes = BODY, at_ms: int | None = None) -> Mapping[str, str]:
    return signed_headers(keys_of(secrets), "evt_1", now_ms() if at_ms is None else at_ms, body)


@given(key=st.binary(min_size=24, max_size=64), text=st.text())
def test_what_is_signed_verifies(key: bytes, text: str) -> None:
    body = b'{"a":%s}' % str(list(text.encode())).encode()
    secret = secret_of(key)
    assert Webhook(secret).verify(body, dict(headers_of(secret, body=body))) == {"a": list(text.encode())}


@pytest.mark.parametrize("known", [OLD, NEW])
def test_during_a_rotation_the_old_and_the_new_secret_verify(known: str) -> None:
    headers = headers_of(f"{NEW} {OLD}")
    assert len(headers["webhook-signature"].split(" ")) == 2
    Webhook(known).verify(BODY, dict(headers))


def test_another_secret_another_body_and_an_old_time_do_not_verify() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY, dict(headers_of(NEW)))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY + b" ", dict(headers_of(NEW)))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY, dict(headers_of(NEW, at_ms=now_ms() - 301_000)))


def test_the_headers_are_those_of_the_standard() -> None:
    headers = headers_of(NEW, at_ms=1_790_000_000_999)
    assert set(headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert headers["webhook-id"] == "evt_1"
    assert headers["webhook-timestamp"] == "1790000000"  # whole seconds, not rounded up into the future
    assert headers["webhook-signature"].startswith("v1,")


@pytest.mark.parametrize(
    "secrets", ["", " ", "whsec_", "whsec_not base64", "whsec_AAAA", NEW.removeprefix("whsec_"), secret_of(b"x" * 65)]
)
def test_what_is_no_secret_signs_nothing(secrets: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        keys_of(secrets)
