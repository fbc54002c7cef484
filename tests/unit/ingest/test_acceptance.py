"""The winner of a claim and whoever helps it write the same records (R1, R3)."""

import orjson

from chassis.ids import MessageIds
from schemas.envelope import to_timestamp
from services.ingest.domain.acceptance import Accepted, accepted_by, answer_of, claim_of, place_of, submits_of
from services.ingest.domain.submission import read_submission

IDS = MessageIds({1: b"0123456789abcdef"}, 1)
NOW = 1_790_000_000_123


def accepted(count: int) -> Accepted:
    ids = tuple(
        IDS.new(project_id="prj_1", now_ms=NOW, lane="express", partition=7).text for _ in range(count)
    )  # fmt: skip
    return Accepted(ids, "sub_1", NOW, "Shop <shop@example.com>", "live", "key_1")


ONE = read_submission({"recipient": "Ada <Ada@Example.org>", "subject": "s", "text": "t", "priority": "high"})
TWO = read_submission({"recipient": ["ada@example.org", "b@bücher.example"], "subject": "s", "html": "h"})


def test_the_answer_has_exactly_the_documented_members() -> None:
    decided = accepted(1)
    assert orjson.loads(answer_of(ONE, decided)) == {
        "message_id": decided.message_ids[0],
        "status": "queued",
        "recipient": "Ada@example.org",
        "created_at": to_timestamp(NOW),
    }


def test_the_answer_to_a_list_names_every_message() -> None:
    decided = accepted(2)
    answer = orjson.loads(answer_of(TWO, decided))
    assert answer["message_id"] == decided.message_ids[0]
    assert answer["messages"] == [
        {"message_id": decided.message_ids[0], "recipient": "ada@example.org", "role": "to"},
        {"message_id": decided.message_ids[1], "recipient": "b@xn--bcher-kva.example", "role": "to"},
    ]


def test_one_input_per_recipient() -> None:
    first, second = submits_of(TWO, accepted(2), valid_until_ms=5)
    assert (first.recipient, first.destination) == ("ada@example.org", "example.org")
    assert (second.recipient, second.destination) == ("b@xn--bcher-kva.example", "xn--bcher-kva.example")
    assert first.content == second.content
    assert first.content.to == ["ada@example.org", "b@xn--bcher-kva.example"]
    assert first.content.from_ == "Shop <shop@example.com>"
    assert (first.submission_id, first.priority, first.on_unknown, first.valid_until_ms) == (
        "sub_1",
        "normal",
        "resend",
        5,
    )


def test_a_helper_writes_what_the_winner_writes_but_for_its_own_deadline() -> None:
    decided = accepted(2)
    claim = claim_of(decided, claim_id="clm_1", fingerprint="f", answer=answer_of(TWO, decided), valid_until_ms=1)
    helped = submits_of(TWO, accepted_by(claim), valid_until_ms=9)
    won = submits_of(TWO, decided, valid_until_ms=9)
    assert helped == won


def test_the_place_is_in_the_ids() -> None:
    place = place_of(accepted(1).message_ids)
    assert (place.lane, place.partition) == ("express", 7)
