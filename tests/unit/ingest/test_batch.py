"""Batches (R9): each mail for itself, one claim for all of them, and no loop that is held."""

from typing import Any

import orjson
import pytest

from chassis.ids import MessageIds, parse_message_id
from services.ingest.domain.access import Caller
from services.ingest.domain.batch import MAX_ITEMS, MAX_MESSAGES, MAX_SHOWN_FAULTS
from services.ingest.domain.faults import Refused
from services.ingest.drafting import MESSAGES_IN_A_PLACE
from services.ingest.handlers import AcceptMessage, Answer, SendRequest
from services.ingest.ports import Senders
from tests.unit.ingest.stand_ins import (
    LINKS,
    ClaimLog,
    Died,
    Directory,
    Faults,
    HandClock,
    Inputs,
    Kafka,
    NobodyAsks,
    NoTemplates,
    Storage,
)

CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)
GOOD: dict[str, Any] = {"recipient": "a@example.org", "subject": "s", "text": "t"}
BAD: dict[str, Any] = {"recipient": "nobody", "text": "t"}


class Replica:
    def __init__(self, kafka: Kafka, faults: Faults | None = None, senders: Senders | None = None) -> None:
        faults = faults or Faults()
        self.accept = AcceptMessage(
            kafka.clock,
            MessageIds({1: b"0123456789abcdef"}, 1),
            senders or Directory(),
            Inputs(kafka, faults),
            ClaimLog(kafka, faults),
            LINKS,
            NoTemplates(),
            NoTemplates(),
            Storage(kafka, faults),
        )

    async def send(self, *items: Any, key: str | None = "k", **members: Any) -> Answer:
        body = orjson.dumps({"messages": list(items), **members})
        return await self.accept.batch(SendRequest(CALLER, body, [key] if key else [], "req_1"))

    async def refusal(self, *items: Any, **members: Any) -> Refused:
        with pytest.raises(Refused) as refused:
            await self.send(*items, **members)
        return refused.value


@pytest.fixture
def kafka() -> Kafka:
    return Kafka(HandClock())


def faults_of(refused: Refused) -> list[tuple[str, str]]:
    return [(fault.field, fault.code) for fault in refused.faults]


async def test_each_item_is_answered_for_itself_in_order(kafka: Kafka) -> None:
    several = {**GOOD, "recipient": ["b@example.org", "c@example.org"], "scheduled_time": "2026-09-22T00:00:00Z"}
    elsewhere = {**GOOD, "from": "a@elsewhere.example"}
    answer = orjson.loads((await Replica(kafka).send(GOOD, BAD, several, "mail", elsewhere)).body)
    assert answer["object"] == "list"
    assert answer["batch_id"].startswith("bat_")
    first, second, third, fourth, fifth = answer["data"]
    assert first == {
        "index": 0,
        "message_id": kafka.submits[0][1].message_id,
        "status": "queued",
        "recipient": "a@example.org",
    }
    assert second["error"]["code"] == "validation_error"
    assert {(fault["field"], fault["code"]) for fault in second["errors"]} == {
        ("recipient", "invalid_address"),
        ("subject", "required"),
    }
    assert (third["status"], len(third["messages"])) == ("scheduled", 2)
    assert [fault["code"] for fault in fourth["errors"]] == ["invalid_type"]
    assert (fifth["index"], fifth["error"]["code"]) == (4, "sender_not_allowed")
    submits = [submit for _, submit, _ in kafka.submits]
    assert [submit.recipient for submit in submits] == ["a@example.org", "b@example.org", "c@example.org"]
    assert {(submit.channel, submit.submission_id, submit.request_id) for submit in submits} == {
        ("batch", answer["batch_id"], "req_1")
    }


async def test_a_strict_batch_is_all_or_nothing(kafka: Kafka) -> None:
    refused = await Replica(kafka).refusal(GOOD, BAD, strict=True)
    assert (refused.status, refused.code) == (422, "validation_error")
    assert set(faults_of(refused)) == {
        ("messages[1].recipient", "invalid_address"),
        ("messages[1].subject", "required"),
    }
    assert (kafka.submits, kafka.holders) == ([], {})
    await Replica(kafka).send(GOOD, GOOD, strict=True)
    assert len(kafka.submits) == 2


async def test_a_batch_of_nothing_good_claims_nothing(kafka: Kafka) -> None:
    """D20: the key is not burnt."""
    answer = await Replica(kafka).send(BAD)
    assert not answer.replayed
    assert (kafka.holders, kafka.submits) == ({}, [])
    assert not (await Replica(kafka).send(GOOD)).replayed


@pytest.mark.parametrize("name", ["X-Idempotency-Key", "x-idempotency-key"])
async def test_an_item_has_no_key_of_its_own(kafka: Kafka, name: str) -> None:
    answer = orjson.loads((await Replica(kafka).send({**GOOD, "headers": {name: "mine"}}, GOOD)).body)
    assert answer["data"][0]["errors"][0]["field"] == "headers.X-Idempotency-Key"
    assert "message_id" in answer["data"][1]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "messages", "required"),
        ({"messages": None}, "messages", "required"),
        ({"messages": []}, "messages", "required"),
        ({"messages": {}}, "messages", "invalid_type"),
        ({"messages": [GOOD] * (MAX_ITEMS + 1)}, "messages", "too_many"),
        ({"messages": [GOOD], "strict": "yes"}, "strict", "invalid_type"),
        ({"messages": [GOOD], "strikt": True}, "strikt", "unknown_field"),
        (
            {"messages": [{**GOOD, "recipient": [f"r{n}@example.org" for n in range(50)]}] * 21},
            "messages",
            "too_many",
        ),
    ],
)
async def test_what_is_wrong_with_the_batch_itself(kafka: Kafka, body: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        await Replica(kafka).accept.batch(SendRequest(CALLER, orjson.dumps(body), []))
    assert (refused.value.status, faults_of(refused.value)) == (422, [(field, code)])
    assert kafka.submits == []


async def test_an_answer_stays_within_its_claim(kafka: Kafka) -> None:
    """D74: what is wrong with an item is listed up to a limit, for a claim has a size."""
    noise = {**GOOD, **{f"unknown{n}": 1 for n in range(400)}}
    answer = await Replica(kafka).send(*[noise] * (MAX_ITEMS - 1), GOOD)
    assert len(orjson.loads(answer.body)["data"][0]["errors"]) == MAX_SHOWN_FAULTS
    (holder,) = kafka.holders.values()
    assert len(orjson.dumps(holder.claim.model_dump())) < 6 * 1024 * 1024


async def test_a_replay_is_byte_for_byte_and_asks_no_table(kafka: Kafka) -> None:
    first = await Replica(kafka).send(GOOD, BAD)
    assert await Replica(kafka, senders=NobodyAsks()).send(GOOD, BAD) == Answer(first.body, replayed=True)
    assert len(kafka.submits) == 1
    assert (await Replica(kafka).refusal(GOOD, GOOD)).code == "idempotency_key_reused"


async def test_a_single_mail_can_not_have_the_key_of_a_batch(kafka: Kafka) -> None:
    await Replica(kafka).send(GOOD)
    with pytest.raises(Refused) as refused:
        await Replica(kafka).accept(SendRequest(CALLER, orjson.dumps({"messages": [GOOD]}), ["k"]))
    assert refused.value.code == "idempotency_key_reused"


@pytest.mark.parametrize("after", [False, True])
async def test_a_death_at_every_step(kafka: Kafka, after: bool) -> None:
    """D6, D17: two lanes, so two places; one mail in object storage. A retry elsewhere writes what was decided."""
    items = [GOOD, BAD, {**GOOD, "priority": "high"}, {**GOOD, "text": "t" * 200_000}]
    for step in range(1, 10):
        kafka = Kafka(HandClock())
        faults = Faults(step, after)
        try:
            first: bytes | None = (await Replica(kafka, faults).send(*items)).body
        except Died:
            first = None
        answer = await Replica(kafka).send(*items)
        assert first in {None, answer.body}
        told = {each["message_id"] for each in orjson.loads(answer.body)["data"] if "message_id" in each}
        contents = {
            (submit.message_id, submit.model_copy(update={"valid_until_ms": 0}).model_dump_json())
            for _, submit, _ in kafka.submits
        }
        assert len(contents) == 3  # one content of each mail, however often it was written
        assert {message_id for message_id, _ in contents} == told
        if faults.steps < step:
            break
    assert faults.steps == 5, "store, claim, submit, submit, done"


async def test_a_large_batch_goes_to_several_places(kafka: Kafka) -> None:
    """Each place gets a part that neither holds the loop nor is larger than a batch of Kafka's may be; order stays."""
    await Replica(kafka).send(*[{**GOOD, "recipient": f"r{n}@example.org"} for n in range(MAX_MESSAGES)])
    assert [submit.recipient for _, submit, _ in kafka.submits] == [f"r{n}@example.org" for n in range(MAX_MESSAGES)]
    places = [place for _, _, place in kafka.submits]
    assert len(set(places)) == MAX_MESSAGES / MESSAGES_IN_A_PLACE
    for _, submit, place in kafka.submits:
        found = parse_message_id(submit.message_id)
        assert found is not None
        assert (found.lane, found.partition) == (place.lane, place.partition)


async def test_large_mails_do_not_overfill_a_place(kafka: Kafka) -> None:
    await Replica(kafka).send(*[{**GOOD, "text": "t" * 100_000, "metadata": {"n": str(n)}} for n in range(150)])
    by_place: dict[Any, int] = {}
    for _, submit, place in kafka.submits:
        by_place[place] = by_place.get(place, 0) + len(submit.model_dump_json())
    assert len(by_place) == 2
    assert max(by_place.values()) < 8_000_000
