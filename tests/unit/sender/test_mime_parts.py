"""Mails with files, against the standard library's parser as the oracle (R2, R5, R23): what was checked is what is sent."""

import base64
import re
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.domain.mime import UnsafeHeader, compose
from tests.unit.sender.test_mime import delivery, head_lines, parsed, written

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60).filter(
    lambda name: name.strip() == name
)
FILES = st.builds(
    lambda name, data, content_id: {
        "filename": name,
        "content": base64.b64encode(data).decode(),
        "content_type": "application/octet-stream",
        "content_id": content_id,
    },
    NAMES,
    st.binary(max_size=200),
    st.none() | st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}", fullmatch=True),
)


def file(**changes: Any) -> dict[str, Any]:
    return {"filename": "a.pdf", "content": "aGVsbG8=", "content_type": "application/pdf", **changes}


def shape(part: EmailMessage) -> Any:
    """The tree of types."""
    inner = [shape(child) for child in part.iter_parts() if isinstance(child, EmailMessage)]
    return {part.get_content_type(): inner} if part.is_multipart() else part.get_content_type()


def leaves(mail: EmailMessage) -> list[EmailMessage]:
    found = [part for part in mail.walk() if isinstance(part, EmailMessage) and not part.is_multipart()]
    return [part for part in found if part.get_filename() is not None]


LOGO = file(filename="logo.png", content_type="image/png", content_id="logo")
BOTH = {"multipart/alternative": ["text/plain", "text/html"]}


@pytest.mark.parametrize(
    ("content", "tree"),
    [
        ({"attachments": [file()]}, {"multipart/mixed": ["text/plain", "application/pdf"]}),
        ({"html": "<p>", "attachments": [LOGO]}, {"multipart/related": [BOTH, "image/png"]}),
        (
            {"html": "<p>", "attachments": [file(), LOGO, file()]},
            {"multipart/mixed": [{"multipart/related": [BOTH, "image/png"]}, "application/pdf", "application/pdf"]},
        ),
        ({"html": "<p>", "text": None, "attachments": [LOGO]}, {"multipart/related": ["text/html", "image/png"]}),
        ({"attachments": [LOGO]}, {"multipart/mixed": ["text/plain", "image/png"]}),  # no HTML to be shown in
    ],
)
def test_the_tree_is_as_deep_as_it_must_be(content: dict[str, Any], tree: Any) -> None:
    assert shape(parsed(written(**content))) == tree


def test_files_say_how_they_are_to_be_shown() -> None:
    attached, picture = file(), LOGO
    picture_part, attached_part = leaves(parsed(written(html='<img src="cid:logo">', attachments=[attached, picture])))
    assert (attached_part.get_content_disposition(), attached_part["Content-ID"]) == ("attachment", None)
    assert (picture_part.get_content_disposition(), picture_part["Content-ID"]) == ("inline", "<logo>")
    related = parsed(written(html="<p>", attachments=[picture]))
    assert related["Content-Type"].params["type"] == "multipart/alternative"


@settings(max_examples=60, deadline=None)
@given(st.lists(FILES, min_size=1, max_size=4), st.text(max_size=50), st.none() | st.text(max_size=50))
def test_every_file_arrives_byte_for_byte_under_its_name(files: list[Any], text: str, html: str | None) -> None:
    mail = parsed(written(text=text.replace("\0", ""), html=html, attachments=files))
    found = leaves(mail)
    assert not [defect for part in mail.walk() for defect in part.defects]
    got = sorted((part.get_filename(), bytes(part.get_payload(decode=True))) for part in found)
    assert got == sorted((f["filename"], base64.b64decode(f["content"])) for f in files)


@settings(max_examples=60, deadline=None)
@given(st.lists(FILES, min_size=1, max_size=4))
def test_nothing_in_it_is_long_or_beyond_ascii(files: list[Any]) -> None:
    data = written(html="<p>ü", attachments=files)
    assert data.isascii()
    assert max(len(line) for line in data.split(b"\r\n")) <= 78
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)


def test_base64_has_lines_of_76() -> None:
    raw = bytes(range(256)) * 4000
    mail = parsed(written(attachments=[file(content=base64.b64encode(raw).decode())]))
    (part,) = leaves(mail)
    lines = str(part.get_payload()).split("\r\n")
    assert {len(line) for line in lines[:-2]} == {76}
    assert part.get_payload(decode=True) == raw


def test_the_same_bytes_at_each_attempt_and_no_boundary_within_another() -> None:
    content = {"text": "a", "html": "b", "attachments": [file(), LOGO]}
    first = compose(delivery(**content))
    assert compose(delivery(**content).model_copy(update={"attempt": 3, "dispatch": 9})) == first
    boundaries = re.findall(rb'boundary="([^"]+)"', first.data)
    assert len(set(boundaries)) == 3
    assert not any(one != other and one in other for one in boundaries for other in boundaries)


@pytest.mark.parametrize(
    "name", ["ä" * 80, "a" * 255, "quarterly report (final), v2; really.pdf", 'q"uo\\te.pdf', "%41*'.pdf"]
)
def test_awkward_names(name: str) -> None:
    (part,) = leaves(parsed(written(attachments=[file(filename=name)])))
    assert part.get_filename() == name


def test_cc_stands_in_the_header_and_bcc_nowhere() -> None:
    given_ = delivery(text="t", cc=["Bob <bob@example.org>", "Ünal <u@bücher.example>"])
    mail = compose(given_.model_copy(update={"recipient": "eve@example.net"}))
    assert parsed(mail.data)["Cc"] == "Bob <bob@example.org>, Ünal <u@xn--bcher-kva.example>"
    assert mail.recipient == "eve@example.net"
    assert b"eve@" not in mail.data
    assert not [line for line in head_lines(mail.data) if line.lower().startswith(b"bcc")]
    assert "Cc" not in parsed(written())


@pytest.mark.parametrize(
    "changes",
    [
        {"filename": "a\r\nX: y"},
        {"content_type": "text/plain\r\nX: y"},
        {"content_id": "a>\r\nX: y"},
        {"content": "aGVs\r\n--x\r\n"},
        {"content": "a-_="},
    ],
)
def test_what_would_break_out_is_never_written(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsafeHeader):
        written(attachments=[file(**changes)])
