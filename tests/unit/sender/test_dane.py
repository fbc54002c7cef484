"""Which TLSA records can be used at all (RFC 7672, 3.1; RFC 6698, 2.1)."""

import pytest

from services.sender.domain.dane import Tlsa, usable, vouched_for

SHA256, SHA512 = b"\0" * 32, b"\0" * 64
GOOD = [Tlsa(3, 1, 1, SHA256), Tlsa(2, 0, 2, SHA512), Tlsa(3, 0, 0, b"whole")]


@pytest.mark.parametrize(
    "record",
    [
        Tlsa(0, 1, 1, SHA256),
        Tlsa(1, 1, 1, SHA256),
        Tlsa(4, 1, 1, SHA256),
        Tlsa(3, 2, 1, SHA256),
        Tlsa(3, 1, 3, SHA256),
        Tlsa(3, 1, 1, SHA512),
        Tlsa(3, 1, 2, SHA256),
    ],
)
def test_what_is_of_no_use_is_passed_over(record: Tlsa) -> None:
    assert usable([record, *GOOD]) == tuple(GOOD)


def test_what_is_no_certificate_is_vouched_for_by_nothing() -> None:
    assert not vouched_for(GOOD, [b"whole"], ["mx.example.org"])
    assert not vouched_for(GOOD, [b""], ["mx.example.org"])
