"""Mails as bytes, against the standard library's parser as the oracle (R22, R28; D58)."""

import re
from binascii import b2a_qp
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deliveries import Delivery
from schemas.mail import Content
from services.sender.adapters.smtp_session import dot_stuffed
from services.sender.domain.mime import Mail, UnsafeHeader, compose, quoted_printable

ID = "msg_06GC8M3CFE20EBBH2S1BE9HPNB0SXKY1"
POLICY = SMTP.clone(max_line_length=998)


def delivery(**content: Any) -> Delivery:
    given_ = {"from": "Shop <shop@example.com>", "to": ["ada@example.org"], "subject": "Hi", **content}
    return Delivery(
        message_id=ID,
        recipient="ada@example.org",
        destination="example.org",
        content=Content.model_validate(given_),
        environment="live",
        priority="normal",
        attempt=1,
        dispatch=1,
        created_at_ms=1790000000123,
        first_dispatched_at_ms=1790000000129,
        valid_until_ms=1790000008123,
    )


def written(**content: Any) -> bytes:
    return compose(delivery(**{"text": "Hello", **content})).data


def parsed(data: bytes) -> EmailMessage:
    found = message_from_bytes(data, policy=POLICY)
    assert isinstance(found, EmailMessage)
    return found


def head_lines(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def text_of(mail: EmailMessage, subtype: str) -> str:
    part = mail.get_body((subtype,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content


# What bodies may hold: anything but what ingest refuses (C0 without tab and line ends, surrogates).
BODIES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=400)
LINES = st.text(st.sampled_from(list(" .=\t\r\nabcZ_?ä漢😀-")), max_size=300)
TEXTS = st.one_of(BODIES, LINES)
# What headers may hold: no controls, no separators.
SUBJECTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=120).filter(
    lambda text: text.strip(" ") == text
)


def normalised(text: str) -> str:
    lines = re.sub(r"\r\n|\r|\n", "\r\n", text)
    return lines if lines.endswith("\r\n") else lines + "\r\n"


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_text_and_html_come_back_as_they_were(text: str, html: str) -> None:
    mail = parsed(written(text=text, html=html))
    assert mail.get_content_type() == "multipart/alternative"
    assert text_of(mail, "plain") == normalised(text)
    assert text_of(mail, "html") == normalised(html)
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_a_recipients_own_link_stands_in_both_fields_of_rfc_8058() -> None:
    link = "https://mail.example/u/" + "A" * 400
    mail = parsed(written(list_unsubscribe=link))
    assert mail["List-Unsubscribe"] == f"<{link}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert parsed(written())["List-Unsubscribe"] is None


@settings(deadline=None)
@given(TEXTS)
def test_one_body_alone_comes_back(text: str) -> None:
    assert text_of(parsed(written(text=text)), "plain") == normalised(text)
    html = parsed(written(text=None, html=text))
    assert html.get_content_type() == "text/html"
    assert text_of(html, "html") == normalised(text)


@settings(deadline=None)
@given(TEXTS, TEXTS, SUBJECTS)
def test_every_line_is_short_seven_bit_and_ends_in_crlf(text: str, html: str, subject: str) -> None:
    data = written(text=text, html=html, subject=subject)
    assert data.isascii()
    assert b"\0" not in data
    assert data.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)
    body = data.partition(b"\r\n\r\n")[2]
    assert max(len(line) for line in body.split(b"\r\n")) <= 76
    assert max(len(line) for line in head_lines(data)) <= 998


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_the_boundary_is_fixed_and_stands_in_no_part(text: str, html: str) -> None:
    data = written(text=text, html=html)
    assert data == written(text=text, html=html)
    boundary = parsed(data).get_boundary()
    assert boundary is not None
    assert data.count(boundary.encode()) == 4


@settings(deadline=None)
@given(SUBJECTS)
def test_a_subject_comes_back_as_it_was(subject: str) -> None:
    data = written(subject=subject)
    assert parsed(data)["Subject"] == subject
    assert all(len(line) <= 76 for line in head_lines(data) if b"=?" in line)
    for word in re.findall(rb"=\?utf-8\?[^ \r\n]*\?=", data):
        assert len(word) <= 75


@pytest.mark.parametrize(
    "subject",
    [
        "a  b",
        " leading",
        "=?utf-8?q?not_yet_encoded?=",
        "x" * 900,
        "ä" * 300,
        "word " * 60 + "end",
        "Grüße aus Köln, " * 20 + "!",
        "tab\there",
        "日本語" * 40,
        "😀" * 50,
        "ends in ä",
        "ä begins",
        "a_b=c?d ä",
    ],
)
def test_odd_subjects(subject: str) -> None:
    data = written(subject=subject)
    # The parser drops a leading space of any value, encoded or not, and makes a tab a space.
    assert str(parsed(data)["Subject"]).lstrip() == subject.lstrip().replace("\t", parsed(data)["Subject"][3:4] or "\t")
    assert all(len(line) <= 76 for line in head_lines(data) if b"x" * 76 not in line)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60), st.booleans())
def test_display_names_come_back(name: str, quoted: bool) -> None:
    name = re.sub(r'=\?|[\\"<>]', "", name).strip()
    shown = f'"{name}" <shop@example.com>' if quoted else f"{name} <shop@example.com>"
    data = written(**{"from": shown})
    # Not `policy.SMTP`: it puts a space between two encoded words of a name, which RFC 2047 6.2 forbids.
    line = message_from_bytes(data)["From"].replace("\r\n", "")
    before, _, address = line.rpartition(" ")
    assert address.strip("<>") == "shop@example.com"
    assert str(make_header(decode_header(before.strip('"')))) == " ".join(name.split(" "))


def test_the_headers_of_a_plain_mail() -> None:
    data = written(reply_to=["help@example.com"], headers={"X-Order": "1042"})
    assert head_lines(data) == [
        b"From: Shop <shop@example.com>",
        b"To: ada@example.org",
        b"Reply-To: help@example.com",
        b"Subject: Hi",
        b"Date: Mon, 21 Sep 2026 14:13:20 +0000",
        f"Message-ID: <{ID}@example.com>".encode(),
        b"MIME-Version: 1.0",
        b"X-Order: 1042",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: quoted-printable",
    ]


def test_a_list_of_urls_stays_whole() -> None:
    """An encoded List-Unsubscribe breaks one-click (delivery reference, 0.2)."""
    url = "https://example.com/u/" + "t" * 300
    data = written(headers={"List-Unsubscribe": f"<{url}>, <mailto:u@example.com?subject=stop>"})
    assert f"<{url}>,".encode() in data
    assert parsed(data)["List-Unsubscribe"] == f"<{url}>, <mailto:u@example.com?subject=stop>"
    assert b"=?" not in data


def test_words_beyond_ascii_never_take_urls_with_them() -> None:
    data = written(headers={"X-Note": "siehe <https://example.com/a_b> für Müller"})
    assert b"<https://example.com/a_b>" in data
    assert parsed(data)["X-Note"] == "siehe <https://example.com/a_b> für Müller"


def test_many_recipients_fold_between_addresses() -> None:
    to = [f"Person Number {n} <person{n}@example.org>" for n in range(50)]
    data = written(to=to)
    assert max(len(line) for line in head_lines(data)) <= 78
    assert [a.addr_spec for a in parsed(data)["To"].addresses] == [f"person{n}@example.org" for n in range(50)]


def test_addresses_are_never_encoded() -> None:
    data = written(**{"from": "Jürgen Müller <j.mueller+x@example.com>"})
    assert b"<j.mueller+x@example.com>" in data
    (address,) = parsed(data)["From"].addresses
    assert (address.display_name, address.addr_spec) == ("Jürgen Müller", "j.mueller+x@example.com")


def test_a_domain_beyond_ascii_goes_as_its_a_label() -> None:
    mail = compose(delivery(text="x", **{"from": "Büro <office@bücher.example>"}))
    assert (mail.envelope_from, mail.smtputf8) == ("office@xn--bcher-kva.example", False)
    assert b"<office@xn--bcher-kva.example>" in mail.data
    assert f"<{ID}@xn--bcher-kva.example>".encode() in mail.data


def test_only_a_local_part_beyond_ascii_needs_smtputf8() -> None:
    assert not compose(delivery(text="ä", subject="ö", **{"from": "Ü <a@example.com>"})).smtputf8
    mail = compose(delivery(text="x", **{"from": "jürgen@example.com"}))
    assert mail.smtputf8
    assert "From: jürgen@example.com\r\n".encode() in mail.data


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "a\r\nBcc: eve@example.net"])
@pytest.mark.parametrize("field", ["from", "subject", "name", "value", "to", "reply_to"])
def test_nothing_breaks_out_of_a_header(field: str, bad: str) -> None:
    """R28, D71: the last line of defence."""
    cases: dict[str, dict[str, Any]] = {
        "from": {"from": f"x{bad}y@example.com"},
        "subject": {"subject": f"x{bad}y"},
        "to": {"to": [f"x{bad}y@example.com"]},
        "reply_to": {"reply_to": [f"x{bad}y@example.com"]},
        "name": {"headers": {f"X-A{bad}B": "v"}},
        "value": {"headers": {"X-A": f"x{bad}y"}},
    }
    with pytest.raises(UnsafeHeader):
        compose(delivery(**{"text": "x", **cases[field]}))


@pytest.mark.parametrize("name", ["From", "to", "SUBJECT", "Date", "Message-Id", "MIME-Version", "Content-Type", "Bcc"])
def test_no_header_of_ours_stands_twice(name: str) -> None:
    with pytest.raises(UnsafeHeader):
        written(headers={name: "x"})


def test_the_same_delivery_makes_the_same_bytes_at_each_attempt() -> None:
    """R23."""
    first = compose(delivery(text="Hällo", html="<p>Hällo"))
    again = compose(delivery(text="Hällo", html="<p>Hällo").model_copy(update={"attempt": 3, "dispatch": 7}))
    assert first == again == Mail("shop@example.com", "ada@example.org", first.data, smtputf8=False)


@settings(deadline=None)
@given(TEXTS)
def test_dot_stuffing_can_be_undone_and_ends_once(text: str) -> None:
    data = written(text=text)
    stuffed = dot_stuffed(data)
    assert stuffed.endswith(b"\r\n.\r\n")
    assert stuffed.count(b"\r\n.\r\n") == 1
    assert stuffed[:-3].replace(b"\r\n..", b"\r\n.") == data


def test_dots_first_and_a_missing_line_end() -> None:
    assert dot_stuffed(b".a\r\n.\r\nb") == b"..a\r\n..\r\nb\r\n.\r\n"


lines = st.lists(st.text(st.sampled_from("ab=. \t~\x7fü"), max_size=90), max_size=6)


@given(lines)
@settings(max_examples=500)
def test_quoted_printable_is_the_standard_librarys_to_the_byte(found: list[str]) -> None:
    raw = "".join(line + "\r\n" for line in found).encode()
    assert quoted_printable(raw) == b2a_qp(raw)


@pytest.mark.parametrize(
    "line", ["a" * 74, "a" * 75, "a" * 76, "=" * 25, "=" * 26, "a" * 73 + "=", "a" * 72 + "=", ".", "..", "a ", ". "]
)
def test_quoted_printable_at_its_limits(line: str) -> None:
    for raw in (f"{line}\r\n".encode(), f"x\r\n{line}\r\ny\r\n".encode()):
        assert quoted_printable(raw) == b2a_qp(raw)
