"""Signatures over the bytes that are sent, with dkimpy as the oracle (R26, R28; D58)."""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.domain.dkim import PrivateKey, Signer, UnusableKey, body_digest, private_key, signed
from tests.unit.sender.test_mime import written

SIGNED_AT = 1_790_000_000
RSA = generate_private_key(65537, 2048)
ED25519 = Ed25519PrivateKey.generate()
SIGNERS = [Signer("example.com", "sx1", RSA), Signer("example.com", "sx2", ED25519)]
HEAD = b"From: Shop <shop@example.com>\r\nTo: ada@example.org\r\nSubject: Hi\r\n\r\n"


def published(key: PrivateKey) -> bytes:
    """The TXT record of its public half."""
    public = key.public_key()
    if isinstance(public, RSAPublicKey):
        return b"v=DKIM1; k=rsa; p=" + b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return b"v=DKIM1; k=ed25519; p=" + b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw))


DNS: Mapping[bytes, bytes] = {
    f"{signer.selector}._domainkey.{signer.domain}.".encode(): published(signer.key) for signer in SIGNERS
}


def verdicts(data: bytes, *, number: int = len(SIGNERS)) -> list[bool]:
    """What the oracle says of each signature."""

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        del timeout
        return DNS.get(name)

    def verdict(index: int) -> bool:
        try:
            return bool(dkim.DKIM(data).verify(idx=index, dnsfunc=txt))
        except dkim.ValidationError:
            return False

    return [verdict(index) for index in range(number)]


def added(data: bytes, mail: bytes) -> list[bytes]:
    """The lines of the signatures."""
    assert mail.endswith(data)
    return mail.removesuffix(data).removesuffix(b"\r\n").split(b"\r\n")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"html": "<p>Hällo  Welt</p>\n\n\n", "text": ".\n..\n  two  spaces\t\n\n\n"},
        {"subject": "Grüße " * 40, "reply_to": ["help@example.com"], "cc": ["Bö <b@example.org>"]},
        {"list_unsubscribe": "https://mail.example.com/u/" + "x" * 300, "headers": {"X-Order": "1  2"}},
        {"from": "müller@example.com"},
        {"text": "ü" * 5000, "html": "x" * 5000},
    ],
    ids=["plain", "both", "names", "unsubscribe", "smtputf8", "long"],
)
def test_the_oracle_verifies_both_signatures(content: dict[str, Any]) -> None:
    data = written(**content)
    mail = signed(data, SIGNERS, SIGNED_AT)
    assert verdicts(mail) == [True, True]
    assert all(len(line) <= 78 for line in added(data, mail))


HEADER_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(subject=HEADER_TEXT, name=HEADER_TEXT, text=st.text(max_size=400), html=st.none() | st.text(max_size=200))
def test_whatever_we_compose_verifies(subject: str, name: str, text: str, html: str | None) -> None:
    data = written(subject=subject, text=text, html=html, headers={"X-Name": name})
    assert verdicts(signed(data, SIGNERS, SIGNED_AT)) == [True, True]


LINES = st.lists(st.text(" \t.ab=", max_size=12) | st.sampled_from(["", " ", "x" * 990, "ü"]), max_size=12)


@settings(max_examples=150, deadline=None)
@given(lines=LINES, ends_open=st.booleans())
def test_any_body_verifies(lines: list[str], ends_open: bool) -> None:
    """Also one that no composer of ours writes: white space anywhere, empty lines at the end, no line end at all."""
    data = HEAD + "\r\n".join([*lines, "z" if ends_open else ""]).encode()
    assert verdicts(signed(data, SIGNERS[1:], SIGNED_AT), number=1) == [True]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.text(" \tab;:", max_size=20).filter(lambda text: text.strip() != ""), min_size=1, max_size=3))
def test_any_fields_verify(values: list[str]) -> None:
    """Folded, doubled, with white space in odd places."""
    fields = b"".join(f"Subject: {value}\r\n\t{value}\r\n".encode() for value in values)
    data = fields + HEAD.replace(b"Subject: Hi\r\n", b"") + b"x\r\n"
    assert verdicts(signed(data, SIGNERS[1:], SIGNED_AT), number=1) == [True]


@pytest.mark.parametrize("size", [1, 1 << 20, (1 << 20) + 3, 3 << 20])
@pytest.mark.parametrize("line", [b"ab  c \t\r\n", b"w", b"\r\n"], ids=["lines", "one line", "empty lines"])
def test_a_large_body_is_hashed_in_blocks(size: int, line: bytes) -> None:
    body = b"x\r\n" + line * (size // len(line)) + b"y"
    expected = sha256(dkim.canonicalization.Relaxed.canonicalize_body(body)).digest()
    assert body_digest(HEAD + body + b"\r\n" * 7, len(HEAD)) == expected


def test_no_field_can_be_added_that_a_reader_would_believe() -> None:
    """Over-signed: a second From, or a List-Unsubscribe where there was none, breaks both signatures."""
    mail = signed(written(), SIGNERS, SIGNED_AT)
    for field in (
        b"From: x@example.org",
        b"Subject: x",
        b"Cc: x@example.org",
        b"List-Unsubscribe: <https://x.example>",
    ):
        assert verdicts(field + b"\r\n" + mail) == [False, False], field
    assert verdicts(b"Received: by x\r\n" + mail) == [True, True]


def test_a_changed_byte_breaks_it() -> None:
    data = written(text="Your code is 847291")
    mail = signed(data, SIGNERS, SIGNED_AT)
    assert verdicts(mail.replace(b"847291", b"847292")) == [False, False]
    assert verdicts(mail.replace(b"Subject: Hi", b"Subject: Ho")) == [False, False]


def test_the_same_mail_is_signed_the_same() -> None:
    """R23: an attempt that is carried out again sends the same bytes."""
    data = written()
    assert signed(data, SIGNERS, SIGNED_AT) == signed(data, SIGNERS, SIGNED_AT)
    assert b"t=1790000000;" in signed(data, SIGNERS, SIGNED_AT)


def test_without_a_key_nothing_changes() -> None:
    data = written()
    assert signed(data, [], SIGNED_AT) is data


def test_a_domain_that_is_longer_than_a_line_stands_alone() -> None:
    long = Signer(".".join(["a" * 60] * 4), "sx1", ED25519)
    lines = added(HEAD, signed(HEAD, [long], SIGNED_AT))
    assert [line for line in lines if len(line) > 78] == [f" d={long.domain};".encode()]
    assert all(re.match(rb"DKIM-Signature:| \S", line) for line in lines)


def test_a_key_from_its_text() -> None:
    for key in (RSA, ED25519):
        text = b64encode(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()
        assert private_key(text).public_key() == key.public_key()
    for text in ("", "x", b64encode(b"x").decode()):
        with pytest.raises(UnusableKey):
            private_key(text)
