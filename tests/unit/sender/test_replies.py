"""Replies out of bytes (D43, D49)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.domain.replies import KEPT_LIMIT, REPLY_LIMIT, Garbled, Reply, ReplyReader, visible


def replies(*chunks: bytes) -> list[Reply]:
    reader, found = ReplyReader(), []
    for chunk in chunks:
        reader.feed(chunk)
        while (reply := reader.take()) is not None:
            found.append(reply)
    return found


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_replies_garbled_or_unfinished(chunks: list[bytes]) -> None:
    try:
        found = replies(*chunks)
    except Garbled:
        return
    for reply in found:
        assert 200 <= reply.code <= 599
        assert reply.text.startswith(str(reply.code)[0])
        assert len(reply.text.encode()) <= KEPT_LIMIT


@settings(deadline=None)
@given(
    st.integers(200, 599),
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=60), min_size=1),
    st.integers(1, 7),
)
def test_a_reply_does_not_depend_on_how_it_comes(code: int, texts: list[str], step: int) -> None:
    lines = [f"{code}-{text}" for text in texts[:-1]] + [f"{code} {texts[-1]}"]
    raw = "".join(f"{line}\r\n" for line in lines).encode()
    if len(raw) > REPLY_LIMIT:
        return
    (whole,) = replies(raw)
    (pieces,) = replies(*(raw[at : at + step] for at in range(0, len(raw), step)))
    assert whole == pieces
    assert whole.code == code


def test_lines_are_kept_one_per_line() -> None:
    (reply,) = replies(b"550-5.1.1 No\r\n550 5.1.1 Such user\r\n")
    assert reply == Reply(550, "550-5.1.1 No\n550 5.1.1 Such user")
    assert reply.enhanced_code == "5.1.1"


def test_sloppy_servers() -> None:
    assert replies(b"250 bare line feed\n", b"250\r\n", b"250-a\n250 b\n") == [
        Reply(250, "250 bare line feed"),
        Reply(250, "250"),
        Reply(250, "250-a\n250 b"),
    ]
    assert replies(b"250-first\r\n251 second\r\n") == [Reply(251, "250-first\n251 second")]


@pytest.mark.parametrize(
    "raw",
    [b"hello\r\n", b"\r\n", b"25\r\n", b"150 continue\r\n", b"650 x\r\n", b"-1 x\r\n", b"250x\r\n250 y\r\n", b"\x00\r\n",
     b"250-yes\r\n550 no\r\n", b"2\xd9\xa50 x\r\n"],
)  # fmt: skip
def test_what_is_no_reply(raw: bytes) -> None:
    with pytest.raises(Garbled):
        replies(raw)


@pytest.mark.parametrize("piece", [b"x" * 997, b"250-x\r\n", b"250-" + b"x" * 997 + b"\r\n", b"\x00" * 997])
def test_what_never_ends(piece: bytes) -> None:
    """D49: given up after so many octets, whatever they are; until then no more than those is held."""
    with pytest.raises(Garbled):
        replies(b"250-", *[piece] * (REPLY_LIMIT // len(piece) + 2))


@pytest.mark.parametrize(
    "raw",
    [
        b"250 " + b"x" * 9000 + b"\r\n",
        b"250-" + b"y" * 500 + b"\r\n" + b"250-more\r\n" * 3000 + b"250 done\r\n",
        b"250 \xf0\x9f\x93\xac \x00 \xff" + b"\xf0\x9f\x93\xac" * 2000 + b"\r\n",
    ],
    ids=["one line", "many lines", "emoji"],
)
def test_a_wordy_reply_counts_and_is_kept_in_part(raw: bytes) -> None:
    """D49: a server that took the mail has taken it, however long it talks of it."""
    (reply,) = replies(raw)
    assert reply.code == 250
    assert KEPT_LIMIT - 4 <= len(reply.text.encode()) <= KEPT_LIMIT
    assert visible(raw.replace(b"\r", b"")).startswith(reply.text[:1000])
    assert replies(raw, b"354 Go ahead\r\n")[1:] == [Reply(354, "354 Go ahead")], "and the next one is whole"


def test_codes_that_differ_within_a_class_are_one_reply_and_the_last_counts() -> None:
    """D49: it is the last line that ends a reply (RFC 5321, 4.2.1); two classes are two minds."""
    assert replies(b"550-5.1.1 a\r\n551-b\r\n553 c\r\n")[0].code == 553
    with pytest.raises(Garbled):
        replies(b"250-a\r\n451 b\r\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("550 5.1.1 x", "5.1.1"),
        ("421 5.7.32 odd class", "5.7.32"),
        ("250 2.0.0", "2.0.0"),
        ("550 5.7.606 x", "5.7.606"),
        ("550 5.1 x", None),
        ("550 3.1.1 x", None),
        ("550 5.1.1.1 x", None),
        ("550 5.01.1 x", None),
        ("550 5.1.1000 x", None),
        ("550 no 5.1.1 here", None),
        ("550", None),
    ],
)
def test_enhanced_codes(text: str, expected: str | None) -> None:
    assert Reply(int(text[:3]), text).enhanced_code == expected


def test_a_servers_words_can_not_forge_a_log_line() -> None:
    """D107."""
    assert visible(b"550 a\rb\x1b[31m\x00\xff\xc2\x85") == "550 a\\x0db\\x1b[31m\\x00\\xff\\x85"
    assert visible("550 \u2028 \u202e".encode()) == "550 \\x2028 \\x202e"
    assert len(visible(b"\x01" * 9000).encode()) <= KEPT_LIMIT
    assert len(visible("ä".encode() * 9000).encode()) <= KEPT_LIMIT
