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


def test_resolvers_by_address() -> None:
    """R26."""
    assert settings().dns_servers == ()
    found = settings(dns_servers="127.0.0.1:5353, 192.0.2.1, [::1]:53, 2001:db8::1, [2001:db8::2]").dns_servers
    assert found == (("127.0.0.1", 5353), ("192.0.2.1", 53), ("::1", 53), ("2001:db8::1", 53), ("2001:db8::2", 53))


@pytest.mark.parametrize("wrong", ["dns.example", "127.0.0.1:x", "127.0.0.1:0", "[::1]x", "127.0.0.1:70000"])
def test_what_is_no_resolver(wrong: str) -> None:
    with pytest.raises(ValidationError):
        settings(dns_servers=wrong)


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
