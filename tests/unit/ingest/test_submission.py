"""Validation of `POST /messages` (R2, R4; D71, D74, D75): all faults at once, and nothing slips through."""

import string
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.faults import Fault, Refused
from services.ingest.domain.submission import (
    INLINE_OCTETS,
    Submission,
    check_batch_fits,
    parse_object,
    read_submission,
)

GOOD: dict[str, Any] = {"recipient": "ada@example.org", "subject": "Hello", "text": "Hi\n"}


def faults_of(**changes: Any) -> list[tuple[str, str]]:
    body = {**GOOD, **changes}
    with pytest.raises(Refused) as refused:
        read_submission({name: value for name, value in body.items() if value is not ...})
    assert refused.value.status == 422
    return [(fault.field, fault.code) for fault in refused.value.faults]


def read(**changes: Any) -> Submission:
    return read_submission({**GOOD, **changes})


def test_the_smallest_request() -> None:
    found = read()
    assert [address.envelope for address in found.recipients] == ["ada@example.org"]
    assert (found.several, found.from_, found.priority, found.tags) == (False, None, "normal", ())
    assert found.size == len("Hello" + "Hi\n")


def test_every_field() -> None:
    found = read(
        **{"from": "Shop <shop@example.com>"},
        recipient=["Ada <ada@example.org>", "bob@example.org"],
        html="<p>Hi</p>",
        headers={"X-Order": "1042", "List-Unsubscribe": "<mailto:u@example.com>"},
        metadata={"order": "1042", "größe": "ü"},
        tags=["otp", "A-1_b", "otp"],
        priority="critical",
        reply_to=["help@example.com"],
    )
    assert [address.header for address in found.recipients] == ["Ada <ada@example.org>", "bob@example.org"]
    assert found.several
    assert found.tags == ("otp", "A-1_b")
    assert found.priority == "critical"
    assert [address.envelope for address in found.reply_to] == ["help@example.com"]


def test_to_is_another_name_of_recipient() -> None:
    body = {"to": "ada@example.org", "subject": "s", "text": "t"}
    assert read_submission(body).recipients[0].envelope == "ada@example.org"
    assert faults_of(to="bob@example.org") == [("to", "conflict")]


def test_null_is_the_same_as_absent() -> None:
    found = read(html=None, headers=None, metadata=None, tags=None, priority=None, reply_to=None, cc=None, to=None)
    assert found == read()


def test_all_faults_at_once() -> None:
    found = faults_of(
        recipient=["nobody", "ada@example.org", 7],
        subject=...,
        text=...,
        headers={"From": "x@example.com"},
        metadata={"a": 1},
        tags=["no spaces please"],
        priority="urgent",
        template_data={"a": 1},
        colour="red",
        **{"from": "x"},
    )
    assert sorted(found) == sorted(
        [
            ("recipient[0]", "invalid_address"),
            ("recipient[2]", "invalid_type"),
            ("from", "invalid_address"),
            ("subject", "required"),
            ("text", "required"),
            ("headers.From", "reserved_header"),
            ("metadata.a", "invalid_type"),
            ("tags[0]", "invalid_tag"),
            ("priority", "invalid_value"),
            ("template_data", "conflict"),
            ("colour", "unknown_field"),
        ]
    )


@pytest.mark.parametrize("field", ["recipient", "subject", "text"])
def test_required_fields(field: str) -> None:
    assert [name for name, code in faults_of(**{field: ...}) if code == "required"] == [field]
    assert faults_of(**{field: None}) == faults_of(**{field: ...})


def test_empty_values() -> None:
    assert faults_of(recipient=[]) == [("recipient", "required")]
    assert faults_of(recipient="") == [("recipient", "invalid_address")]
    assert faults_of(subject="") == [("subject", "required")]
    assert faults_of(text="", html="") == [("text", "required")]


WRONG = [7, -1.5, True, False, {}, {"a": "b"}, [[]], [7], [None], [{}], 10**18]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    "field",
    ["recipient", "to", "from", "subject", "text", "html", "headers", "metadata", "tags", "priority", "reply_to"],
)
def test_wrong_types_everywhere(field: str, value: Any) -> None:
    """D75: a 422 that names the field, whatever stands in it."""
    if (field, value) in (("headers", {}), ("metadata", {}), ("headers", {"a": "b"}), ("metadata", {"a": "b"})):
        return
    changes: dict[str, Any] = {field: value}
    if field == "to":
        changes["recipient"] = ...
    assert {name.partition("[")[0].partition(".")[0] for name, _ in faults_of(**changes)} == {field}


HOSTILE = ["\r", "\n", "\r\nBcc: evil@example.com", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]


@pytest.mark.parametrize("junk", HOSTILE, ids=ascii)
def test_line_breaks_and_controls_in_every_header_bound_string(junk: str) -> None:
    """D71: CR, LF, NUL and their like can not leave the string they came in."""
    bad = f"a{junk}b"
    assert [name for name, _ in faults_of(subject=bad)] == ["subject"]
    assert [name for name, _ in faults_of(recipient=f"{bad}@example.org")] == ["recipient"]
    assert [name for name, _ in faults_of(recipient=[f"{bad} <a@example.org>"])] == ["recipient[0]"]
    assert [name for name, _ in faults_of(**{"from": f"a@example.org{junk}"})] == ["from"]
    assert [name for name, _ in faults_of(reply_to=f"{bad} <a@example.org>")] == ["reply_to"]
    assert [code for _, code in faults_of(headers={"X-A": bad})] == ["forbidden_characters"]
    assert [code for _, code in faults_of(headers={f"X-{bad}": "v"})] == ["invalid_header_name"]
    assert [name for name, _ in faults_of(tags=[bad])] == ["tags[0]"]
    assert [code for _, code in faults_of(metadata={bad: "v"})] == ["forbidden_characters"]
    assert [code for _, code in faults_of(metadata={"k": bad})] == ["forbidden_characters"]
    assert [name for name, _ in faults_of(priority=bad)] == ["priority"]
    assert [code for _, code in faults_of(**{bad: "x"})] == ["unknown_field"]


def test_a_trailing_line_break_is_no_exception() -> None:
    """`$` in a pattern would let one through."""
    assert faults_of(tags=["otp\n"]) == [("tags[0]", "invalid_tag")]
    assert faults_of(headers={"X-A\n": "v"})[0][1] == "invalid_header_name"


def test_names_in_answers_hold_no_control_characters() -> None:
    found = faults_of(**{"a\r\nb": 1}, headers={"X\r\nY" * 50: "v"}, metadata={"m\x00": "v"})
    assert all(name.isprintable() and len(name) < 100 for name, _ in found)


@pytest.mark.parametrize("field", ["text", "html"])
def test_bodies_have_lines_and_tabs_and_no_nul(field: str) -> None:
    assert getattr(read(**{field: "a\r\nb\nc\rd\te\u2028f\x85g"}), field) is not None
    for junk in ("\x00", "\x01", "\x0b", "\x1f", "\ud800"):
        assert faults_of(**{field: f"a{junk}b"}) == [(field, "forbidden_characters")]


@pytest.mark.parametrize(
    "name",
    [
        "From",
        "from",
        "TO",
        "Cc",
        "Bcc",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "content-transfer-encoding",
        "Content-X",
        "Return-Path",
        "Received",
        "DKIM-Signature",
        "Sender",
        "Resent-From",
        "ARC-Seal",
        "X-Sendarix-Id",
    ],
)
def test_headers_that_the_platform_writes(name: str) -> None:
    assert faults_of(headers={name: "x"}) == [(f"headers.{name}", "reserved_header")]


def test_reply_to_stands_in_one_place() -> None:
    assert read(headers={"Reply-To": "a@example.com"}).headers == {"Reply-To": "a@example.com"}
    both = faults_of(headers={"reply-to": "a@example.com"}, reply_to="b@example.com")
    assert both == [("headers.reply-to", "reserved_header")]


@pytest.mark.parametrize("name", ["", " ", "X A", "X:A", "Ü", "X\tA", "x" * 77, "X-A: 1\r\nBcc"])
def test_header_names_by_the_grammar(name: str) -> None:
    assert [code for _, code in faults_of(headers={name: "v"})] == ["invalid_header_name"]


def test_the_same_header_twice() -> None:
    assert faults_of(headers={"X-A": "1", "x-a": "2"}) == [("headers.x-a", "duplicate")]


def test_limits() -> None:
    fifty = [f"u{n}@example.org" for n in range(50)]
    assert len(read(recipient=fifty).recipients) == 50
    assert faults_of(recipient=[*fifty, "one@example.org"]) == [("recipient", "too_many")]
    assert faults_of(recipient=["a@example.org", "A@EXAMPLE.org"]) == [("recipient[1]", "duplicate")]
    assert read(subject="é" * 499).subject
    assert faults_of(subject="é" * 500) == [("subject", "too_long")]
    assert faults_of(headers={"X-A": "é" * 500}) == [("headers.X-A", "too_long")]
    assert faults_of(headers={f"X-{n}": "v" for n in range(51)}) == [("headers", "too_many")]
    assert faults_of(metadata={f"k{n}": "v" for n in range(51)}) == [("metadata", "too_many")]
    assert faults_of(metadata={"k" * 41: "v"})[0][1] == "invalid_key"
    assert faults_of(metadata={"": "v"})[0][1] == "invalid_key"
    assert faults_of(metadata={"k": "v" * 501}) == [("metadata.k", "too_long")]
    assert faults_of(tags=[f"t{n}" for n in range(21)]) == [("tags", "too_many")]


def test_content_above_128_kib_travels_apart() -> None:
    assert not read(text="x" * (INLINE_OCTETS - 200)).travels_apart()
    assert read(text="x" * INLINE_OCTETS).travels_apart()
    assert read(text="é" * (INLINE_OCTETS // 2)).travels_apart()
    assert read(text='"' * (INLINE_OCTETS // 2)).travels_apart()  # as JSON it is twice as long
    assert read(text="x" * 100_000, recipient=[f"u{n}@example.org" for n in range(50)]).travels_apart()


def test_the_size_counts_all_that_is_sent() -> None:
    file = {"filename": "a.txt", "content": "aGVsbG8="}
    assert read(html="<p>", headers={"X-A": "b"}, attachments=[file]).size == len("HelloHi\n<p>X-Abhello")


def test_the_records_of_a_request_must_fit_one_batch() -> None:
    """Content never hinders it: what would be too large for so many travels apart. Headers and metadata do."""
    fifty = [f"u{n}@example.org" for n in range(50)]
    check_batch_fits(read(recipient=fifty, text='"' * 10_000_000), 8_000_000)
    headers = {f"X-{n}": "v" * 980 for n in range(50)}
    metadata = {f"k{n}": "\N{GRINNING FACE}" * 500 for n in range(50)}
    with pytest.raises(Refused) as refused:
        check_batch_fits(read(recipient=fifty, headers=headers, metadata=metadata, text="x" * 60_000), 7_000_000)
    assert refused.value.status == 413


def test_earlier_faults_are_named_too() -> None:
    with pytest.raises(Refused) as refused:
        read_submission({**GOOD, "priority": "?"}, [Fault("headers.X-Idempotency-Key", "duplicate", "twice")])
    assert [fault.code for fault in refused.value.faults] == ["duplicate", "invalid_value"]


NOT_OBJECTS = [b"", b" ", b"x", b"null", b"7", b'"s"', b"[]", b"[{}]", b"{", b'{"a":}', b"{'a': 1}", b'{"a": NaN}']
NOT_OBJECTS += [b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}']
NOT_OBJECTS += [b'{"a": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a":' * 100_000, b"\xef\xbb\xbf{}", b'{"a": "\n"}']


@pytest.mark.parametrize("raw", NOT_OBJECTS, ids=lambda raw: ascii(raw[:20]))
def test_what_is_no_json_object(raw: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_object(raw)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(string.printable),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*GOOD, "to", "from", "html", "headers", "metadata", "tags", "priority", "reply_to", "cc"])


@given(st.dictionaries(NAMES, JSON))
def test_any_object_is_a_submission_or_a_list_of_faults(body: dict[str, Any]) -> None:
    refusal, found = outcome(orjson.dumps(body))
    if refusal is None:
        assert found is not None
        assert found.recipients
    else:
        assert (refusal.status == 422 and refusal.faults) or refusal.status == 413


def outcome(raw: bytes) -> tuple[Refused | None, Submission | None]:
    try:
        return None, read_submission(parse_object(raw))
    except Refused as refused:
        return refused, None
