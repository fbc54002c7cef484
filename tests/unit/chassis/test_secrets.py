"""What services tell one another about a caller, and secrets at rest (R13)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from chassis.principal import Principal, sign, verify
from chassis.sealing import Seals, WrongSealingKey

SECRET = b"s" * 32
PRINCIPAL = Principal("proj_1", "key_1", ("messages.send", "*"), 1000)


def test_a_principal_comes_back_until_its_time_is_over() -> None:
    header = sign(PRINCIPAL, SECRET)
    assert verify(header, SECRET, 999) == PRINCIPAL
    assert verify(header, SECRET, 1000) is None
    assert verify(header, b"other", 999) is None


def test_a_principal_can_not_be_altered() -> None:
    body, _, mac = sign(PRINCIPAL, SECRET).partition(".")
    forged = urlsafe_b64encode(urlsafe_b64decode(body).replace(b"proj_1", b"proj_2")).decode()
    assert verify(f"{forged}.{mac}", SECRET, 0) is None


@given(st.text(max_size=200))
def test_any_other_header_is_refused(header: str) -> None:
    assert verify(header, SECRET, 0) is None


@given(st.text(max_size=200))
def test_sealed_text_opens_and_does_not_show(plaintext: str) -> None:
    seals = Seals([Fernet.generate_key().decode()])
    sealed = seals.seal(plaintext)
    assert seals.open(sealed) == plaintext
    assert len(plaintext) < 4 or plaintext not in sealed


def test_keys_rotate() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Seals([old]).seal("whsec_1")
    assert Seals([new, old]).open(sealed) == "whsec_1"
    assert Seals([new]).open(Seals([new, old]).seal("whsec_2")) == "whsec_2"
    with pytest.raises(WrongSealingKey):
        Seals([new]).open(sealed)
    with pytest.raises(WrongSealingKey):
        Seals([new]).open("no token at all")


def test_a_malformed_key_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="32 url-safe base64-encoded bytes"):
        Seals(["short"])
