"""Who gets a mail (R2): recipient, cc and bcc, one message each; nobody twice; what is checked is what is sent."""

from typing import Any

import orjson
import pytest

from services.ingest.domain.acceptance import Accepted, answer_of, submits_of
from services.ingest.domain.faults import Refused
from services.ingest.domain.recipients import MAX_RECIPIENTS
from services.ingest.domain.submission import Submission, read_submission

GOOD: dict[str, Any] = {"recipient": "Ada <ada@example.org>", "subject": "Hello", "text": "Hi\n"}


def read(**changes: Any) -> Submission:
    return read_submission({**GOOD, **changes})


def faults_of(**changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        read(**changes)
    return [(fault.field, fault.code) for fault in refused.value.faults]


def accepted(submission: Submission) -> Accepted:
    ids = tuple(f"msg_{n}" for n in range(len(submission.recipients)))
    return Accepted(ids, "sub_1", 1_790_000_000_000, "shop@example.com", "live", "key_1")


def test_each_envelope_recipient_is_a_message_and_bcc_stands_in_no_header() -> None:
    found = read(cc="Bob <bob@example.org>", bcc=["Eve <eve@example.net>"])
    submits = submits_of(found, accepted(found), valid_until_ms=1)
    assert [submit.recipient for submit in submits] == ["ada@example.org", "bob@example.org", "eve@example.net"]
    assert [submit.message_id for submit in submits] == ["msg_0", "msg_1", "msg_2"]
    assert len({submit.content.model_dump_json() for submit in submits}) == 1
    assert submits[0].content.to == ["Ada <ada@example.org>"]
    assert submits[0].content.cc == ["Bob <bob@example.org>"]
    assert "eve" not in submits[0].content.model_dump_json()


def test_the_answer_names_every_message_and_its_role() -> None:
    found = read(cc="bob@example.org", bcc="eve@example.net")
    answer = orjson.loads(answer_of(found, accepted(found)))
    assert (answer["message_id"], answer["recipient"]) == ("msg_0", "ada@example.org")
    assert answer["messages"] == [
        {"message_id": "msg_0", "recipient": "ada@example.org", "role": "to"},
        {"message_id": "msg_1", "recipient": "bob@example.org", "role": "cc"},
        {"message_id": "msg_2", "recipient": "eve@example.net", "role": "bcc"},
    ]


@pytest.mark.parametrize("none", [{}, {"cc": None}, {"bcc": []}])
def test_without_copies_the_answer_is_one_object(none: dict[str, Any]) -> None:
    assert "messages" not in orjson.loads(answer_of(read(**none), accepted(read(**none))))


def test_nobody_is_named_twice() -> None:
    assert faults_of(cc="ADA@example.org") == [("cc", "duplicate")]
    assert faults_of(cc=["bob@example.org"], bcc=["eve@example.org", "Bob <bob@EXAMPLE.org>"]) == [
        ("bcc[1]", "duplicate")
    ]
    assert faults_of(cc="b@bücher.example", bcc="b@xn--bcher-kva.example") == [("bcc", "duplicate")]


def test_the_limit_counts_all_of_them() -> None:
    copies = [f"u{n}@example.org" for n in range(MAX_RECIPIENTS - 1)]
    assert len(read(cc=copies).recipients) == MAX_RECIPIENTS
    assert faults_of(cc=copies, bcc="one@example.org") == [("recipient", "too_many")]
    assert faults_of(cc=[*copies, "a@example.org", "b@example.org"]) == [("cc", "too_many")]


def test_every_fault_has_its_place() -> None:
    assert faults_of(cc=["x"], bcc=7, recipient=["ada@example.org", "@"]) == [
        ("recipient[1]", "invalid_address"),
        ("cc[0]", "invalid_address"),
        ("bcc", "invalid_type"),
    ]


def test_copies_do_not_replace_a_recipient() -> None:
    assert faults_of(recipient=None, cc="bob@example.org") == [("recipient", "required")]


@pytest.mark.parametrize(
    ("text", "envelope", "header"),
    [
        ("a@example.org", "a@example.org", "a@example.org"),
        ("A B <a@Example.ORG>", "a@example.org", "A B <a@example.org>"),
        ('"B, A" <a@example.org>', "a@example.org", '"B, A" <a@example.org>'),
        ("Büro <büro@bücher.example>", "büro@xn--bcher-kva.example", "Büro <büro@xn--bcher-kva.example>"),
        ('"a b"@example.org', '"a b"@example.org', '"a b"@example.org'),
        ("用户@例え.テスト", "用户@xn--r8jz45g.xn--zckzah", "用户@xn--r8jz45g.xn--zckzah"),
    ],
)
@pytest.mark.parametrize("field", ["recipient", "cc", "bcc", "reply_to", "from"])
def test_one_parser_for_all_fields(field: str, text: str, envelope: str, header: str) -> None:
    found = read(**{field: text})
    addresses = {"from": (found.from_,), "reply_to": found.reply_to}.get(field, found.recipients)
    assert [(a.envelope, a.header) for a in addresses if a is not None][-1 if field != "recipient" else 0] == (
        envelope,
        header,
    )
