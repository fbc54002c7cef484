"""Attachments (R2, R5): strict base64, names that are names, a published deny-list; large ones are warned about."""

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.blob_keys import kept_until_ms
from schemas.mail import Attachment, Content
from services.ingest.domain.acceptance import Accepted, answer_of, submits_of, warnings_of
from services.ingest.domain.attachments import MAX_ATTACHMENTS, WARN_OCTETS, octets_of, read_attachments
from services.ingest.domain.denied_attachments import DENIED_EXTENSIONS, DENIED_TYPES
from services.ingest.domain.faults import Fault
from services.ingest.domain.parcels import CONTENT_RETENTION_MS, parcel_of
from services.ingest.domain.submission import Submission, read_submission

GOOD: dict[str, Any] = {"filename": "report.pdf", "content": "aGVsbG8="}
NOON = 1_790_000_000_000


def faults_of(**changes: Any) -> list[tuple[str, str]]:
    faults: list[Fault] = []
    read_attachments([{**GOOD, **changes}], faults)
    return [(fault.field, fault.code) for fault in faults]


def read(**changes: Any) -> Attachment:
    faults: list[Fault] = []
    (found,) = read_attachments([{**GOOD, **changes}], faults)
    assert not faults
    return found


def submission(**changes: Any) -> Submission:
    return read_submission({"recipient": "ada@example.org", "subject": "s", "text": "t", **changes})


def accepted(created_at_ms: int = NOON) -> Accepted:
    return Accepted(("msg_1",), "sub_1", created_at_ms, "shop@example.com", "live", "key_1")


def test_a_file_goes_through_as_it_is() -> None:
    found = read(content_type="application/pdf; version=1.7", content_id="logo@shop")
    assert (found.filename, found.content_type, found.content, found.content_id) == (
        "report.pdf",
        "application/pdf; version=1.7",
        "aGVsbG8=",
        "logo@shop",
    )


@pytest.mark.parametrize(
    ("name", "guessed"),
    [("a.pdf", "application/pdf"), ("A.PNG", "image/png"), ("x.tar.gz", "application/octet-stream"), ("READ", None)],
)
def test_the_type_is_guessed_from_the_name(name: str, guessed: str | None) -> None:
    assert read(filename=name).content_type == guessed or "application/octet-stream"


@given(st.binary(max_size=40))
def test_every_base64_is_taken_and_measured(data: bytes) -> None:
    assert octets_of(read(content=base64.b64encode(data).decode())) == len(data)


@given(st.text(max_size=12))
def test_what_is_taken_is_base64(text: str) -> None:
    faults: list[Fault] = []
    for found in read_attachments([{**GOOD, "content": text}], faults):
        assert len(base64.b64decode(text, validate=True)) == octets_of(found)


LONG = base64.b64encode(bytes(1_500_000)).decode()
NOT_BASE64 = [
    "a",
    "aGVsbG8",
    "aGVs bG8=",
    "aGVs\nbG8=",
    "aGVsbG8=\n",
    "=aGVsbG8",
    "aGVsbG8==",
    "aGVs-_8=",
    "é===",
    "====",
]
NOT_BASE64 += ["data:text/plain;base64,aGVsbG8=", "AA==AA==", LONG[:1_048_574] + "==" + LONG, LONG[:-4] + "!AAA"]


@pytest.mark.parametrize("content", NOT_BASE64, ids=range(len(NOT_BASE64)))
def test_what_is_no_base64(content: str) -> None:
    assert faults_of(content=content) == [("attachments[0].content", "invalid_base64")]


@pytest.mark.parametrize(
    "name",
    ["", "../etc/passwd", "a/b.pdf", "a\\b.pdf", "C:x.pdf", " a.pdf", "a.pdf ", "a.pdf.", "..", "x" * 256, "é" * 128],
)
def test_what_is_no_file_name(name: str) -> None:
    assert faults_of(filename=name) == [("attachments[0].filename", "invalid_filename")]


@pytest.mark.parametrize("name", ["a\r\nBcc: x", "a\x00.pdf", "a\x85.pdf", "fdp\u202eexe.pdf", "a\u2066.pdf", "\u2028"])
def test_no_control_character_and_no_mark_of_direction(name: str) -> None:
    assert faults_of(filename=name) == [("attachments[0].filename", "forbidden_characters")]


@pytest.mark.parametrize(
    "name", ["a.exe", "A.EXE", "invoice.pdf.scr", ".bat", "x.Ps1", "a.js", "m.msi", "c.cmd", "d.com", "v.vbs"]
)
def test_what_a_click_runs_is_refused(name: str) -> None:
    assert faults_of(filename=name) == [("attachments[0].filename", "attachment_denied")]


@pytest.mark.parametrize(
    "kind", ["application/x-msdownload", "Application/X-MSDOS-Program", "text/javascript; charset=utf-8"]
)
def test_so_is_its_type(kind: str) -> None:
    assert faults_of(content_type=kind) == [("attachments[0].content_type", "attachment_denied")]


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "pdf",
        "a/b/c",
        "text/plain;",
        "text/plain\r\nX: y",
        "text/plain; name=a.exe",
        "multipart/mixed",
        "message/rfc822",
        "te xt/plain",
        'text/plain; charset="a"b',
    ],
)
def test_what_is_no_type(kind: str) -> None:
    assert faults_of(content_type=kind) == [("attachments[0].content_type", "invalid_content_type")]


@pytest.mark.parametrize("content_id", ["", "<logo>", "a b", "a>b", "é", "x" * 129, "a/b", "a%20"])
def test_a_content_id_is_in_the_form_that_references_use(content_id: str) -> None:
    assert faults_of(content_id=content_id) == [("attachments[0].content_id", "invalid_content_id")]


def test_a_content_id_is_unique_and_all_faults_are_named() -> None:
    faults: list[Fault] = []
    read_attachments([{**GOOD, "content_id": "a"}, {**GOOD, "content_id": "a"}, 7, {"path": "/x"}], faults)
    assert [(fault.field, fault.code) for fault in faults] == [
        ("attachments[2]", "invalid_type"),
        ("attachments[3].path", "unknown_field"),
        ("attachments[3].filename", "required"),
        ("attachments[3].content", "required"),
        ("attachments[1].content_id", "duplicate"),
    ]


@pytest.mark.parametrize(
    ("value", "code"), [({}, "invalid_type"), ("x", "invalid_type"), ([GOOD] * (MAX_ATTACHMENTS + 1), "too_many")]
)
def test_the_list_itself(value: Any, code: str) -> None:
    faults: list[Fault] = []
    assert read_attachments(value, faults) == ()
    assert [(fault.field, fault.code) for fault in faults] == [("attachments", code)]


def test_the_documents_publish_the_whole_list() -> None:
    page = Path("docs/attachments.md").read_text()
    for name in DENIED_EXTENSIONS:
        assert f" .{name} " in page.replace("\n", " ")
    for name in DENIED_TYPES:
        assert f" {name} " in page.replace("\n", " ")


# --- size ---


def test_more_than_25_mib_is_accepted_with_a_warning() -> None:
    def mail(octets: int) -> Submission:
        half = base64.b64encode(bytes(octets // 2)).decode()
        return submission(attachments=[{"filename": "a.bin", "content": half}, {"filename": "b.bin", "content": half}])

    assert warnings_of(mail(WARN_OCTETS)) == []
    (warning,) = orjson.loads(answer_of(mail(WARN_OCTETS + 2), accepted()))["warnings"]
    assert warning["code"] == "large_attachments"
    assert "link" in warning["message"]
    assert "warnings" not in orjson.loads(answer_of(submission(), accepted()))


# --- the claim check ---


def test_small_content_travels_in_the_records() -> None:
    assert parcel_of(submission(attachments=[GOOD]), accepted()) is None


def test_large_content_is_stored_whole_and_the_records_say_where() -> None:
    large = submission(text="t" * 200_000, html="<p>", attachments=[GOOD], cc="bob@example.org")
    parcel = parcel_of(large, accepted())
    assert parcel is not None
    _, owner, sha256 = parcel.blob.key.split("/")
    assert (owner, sha256, parcel.blob.size) == ("sub_1", parcel.blob.sha256, len(parcel.data))
    stored = Content.model_validate(orjson.loads(parcel.data))
    assert (stored.text, stored.html, stored.attachments) == (large.text, "<p>", [read()])
    decided = Accepted(("msg_1", "msg_2"), "sub_1", NOON, "shop@example.com", "live", "key_1")
    for submit in submits_of(large, decided, valid_until_ms=1, blob=parcel.blob):
        content = submit.content
        assert (content.text, content.html, content.attachments, content.blob) == (None, None, [], parcel.blob)
        assert stored.model_copy(update={"text": None, "html": None, "attachments": [], "blob": parcel.blob}) == content
        assert len(submit.model_dump_json()) < 2000


def test_whoever_helps_makes_the_same_parcel() -> None:
    body = {"text": "t" * 200_000, "attachments": [GOOD]}
    assert parcel_of(submission(**body), accepted()) == parcel_of(submission(**body), accepted())


def test_it_is_kept_as_long_as_the_mail_may_need_it() -> None:
    scheduled = NOON + 300 * 86_400_000
    for fields, needed in ({}, NOON), ({"scheduled_time": "2027-07-18T13:33:20Z"}, scheduled):
        parcel = parcel_of(submission(text="t" * 200_000, **fields), accepted())
        assert parcel is not None
        assert (
            needed + CONTENT_RETENTION_MS < kept_until_ms(parcel.blob.key) <= needed + CONTENT_RETENTION_MS + 86_400_000
        )
