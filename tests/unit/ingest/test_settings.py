"""What ingest believes of its environment (R13, R14)."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.ingest.domain.networks import parse_network
from services.ingest.settings import IngestSettings

SEALING_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def settings(**changes: Any) -> IngestSettings:
    needed = {
        "analytics_url": "http://127.0.0.1:9",
        "internal_secret": "s",
        "message_id_secrets": "1:" + "ab" * 32,
        "sealing_keys": SEALING_KEY,
    }
    return IngestSettings(**(needed | changes))


def test_nobody_is_trusted_unless_named() -> None:
    assert settings().trusted_proxies == ()
    found = settings(trusted_proxies="10.0.0.0/8, ::1").trusted_proxies
    assert found == (parse_network("10.0.0.0/8"), parse_network("::1"))


@pytest.mark.parametrize(
    "wrong", [{"trusted_proxies": "10.0.0.1/8"}, {"trusted_proxies": "proxy"}, {"valkey_url": "x"}]
)
def test_what_is_no_setting(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_a_valkey() -> None:
    secret = settings(valkey_url="valkey://:word@127.0.0.1:6379/0").valkey_url
    assert secret is not None
    assert "word" not in repr(secret)
