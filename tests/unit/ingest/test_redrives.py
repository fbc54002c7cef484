"""A message that failed, sent once more (R29): what is taken over, what is decided anew, and once only (R3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from chassis.budget import ByteBudget
from chassis.ids import MessageId, MessageIds
from schemas.inputs import Submit
from schemas.mail import Blob
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.redrives import Wanted, read_wanted
from services.ingest.handlers import AcceptMessage, Answer, SendRequest
from services.ingest.ports import AnalyticsAway, ContentsGone
from services.ingest.redrives import Failed, ManyRedrives, OneRedrive
from services.ingest.sendings import Sending
from tests.unit.ingest.stand_ins import (
    LINKS,
    ClaimLog,
    Died,
    Directory,
    Faults,
    HandClock,
    Inputs,
    Kafka,
    NoTemplates,
    Storage,
)

IDS = MessageIds({1: b"0123456789abcdef"}, 1)
CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)
MAIL: dict[str, Any] = {
    "recipient": ["Ada <ada@example.org>"],
    "bcc": ["bob@example.org"],
    "subject": "Hello",
    "text": "Hi\n",
    "headers": {"X-A": "b"},
    "metadata": {"order": "1"},
    "tags": ["otp"],
    "priority": "high",
    "reply_to": "help@shop.example",
    "deliver_before": "2027-01-01T00:00:00Z",
}


@dataclass(slots=True)
class ReadSide:
    """The port `DeadLetters`."""

    dead: list[str] = field(default_factory=list)
    away: bool = False

    async def among(self, caller: Caller, message_ids: Sequence[str], request_id: str) -> frozenset[str]:
        if self.away:
            raise AnalyticsAway
        return frozenset(self.dead) & set(message_ids)

    async def matching(self, caller: Caller, filters: Mapping[str, str], limit: int, request_id: str) -> list[str]:
        return self.dead[:limit]


@dataclass(slots=True)
class Log:
    """The ports `Originals` and `KeptContents`: what `POST /messages` has written to this Kafka."""

    kafka: Kafka
    expired: set[str] = field(default_factory=set)

    async def submits(self, wanted: Sequence[MessageId], octets: int) -> Mapping[str, Submit | None]:
        there = {s.message_id: s for _, s, _ in self.kafka.submits if s.message_id not in self.expired}
        return {each.text: there.get(each.text) for each in wanted}

    async def fetch(self, blob: Blob) -> memoryview:
        if blob.key not in self.kafka.blobs:
            raise ContentsGone
        return memoryview(self.kafka.blobs[blob.key])


class Replica:
    """One process of ingest, on the given log."""

    def __init__(self, kafka: Kafka, read_side: ReadSide, faults: Faults | None = None) -> None:
        faults = faults or Faults()
        self.senders, self.log, self.read_side = Directory(), Log(kafka), read_side
        none, storage = NoTemplates(), Storage(kafka, faults)
        inputs, claims = Inputs(kafka, faults), ClaimLog(kafka, faults)
        self.accept = AcceptMessage(kafka.clock, IDS, self.senders, inputs, claims, LINKS, none, none, storage)
        self.failed = Failed(IDS, read_side, self.log, self.log)

    async def send(self, caller: Caller = CALLER, **changes: Any) -> dict[str, Any]:
        answer = await self.accept(SendRequest(caller, orjson.dumps(MAIL | changes), []))
        found: dict[str, Any] = orjson.loads(answer.body)
        return found

    async def one(self, message_id: str, key: str | None = None, caller: Caller = CALLER, body: bytes = b"") -> Answer:
        with ByteBudget(100_000_000).room() as room:
            sending = OneRedrive(self.accept.drafting, self.failed, caller, message_id, room)
            return await self._taken(caller, body, key, sending)

    async def many(self, body: dict[str, Any], key: str | None = None, caller: Caller = CALLER) -> Answer:
        with ByteBudget(100_000_000).room() as room:
            sending = ManyRedrives(self.accept.drafting, self.failed, caller, room)
            return await self._taken(caller, orjson.dumps(body), key, sending)

    async def _taken(self, caller: Caller, body: bytes, key: str | None, sending: Sending) -> Answer:
        return await self.accept.take(SendRequest(caller, body, [] if key is None else [key]), sending)


@pytest.fixture
def kafka() -> Kafka:
    return Kafka(HandClock())


def submit_of(kafka: Kafka, message_id: str) -> Submit:
    return next(submit for _, submit, _ in kafka.submits if submit.message_id == message_id)


async def refusal(sending: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        await sending
    return refused.value


async def test_the_mail_is_the_same_and_the_message_a_new_one(kafka: Kafka) -> None:
    replica = Replica(kafka, ReadSide())
    _, bcc = (message["message_id"] for message in (await replica.send())["messages"])
    replica.read_side.dead = [bcc]
    kafka.clock.ms += 3_600_000
    again = orjson.loads((await replica.one(bcc)).body)
    assert (again["redrive_of"], again["recipient"], again["status"]) == (bcc, "bob@example.org", "queued")
    assert again["message_id"] != bcc
    old, new = submit_of(kafka, bcc), submit_of(kafka, again["message_id"])
    assert new.content == old.content, "its header names who was named, and not who it goes to"
    kept = ("recipient", "destination", "tags", "metadata", "priority", "on_unknown", "size", "environment")
    assert {name: getattr(new, name) for name in kept} == {name: getattr(old, name) for name in kept}
    assert (new.redrive_of, new.created_at_ms, new.deliver_before_ms) == (bcc, kafka.clock.ms, None)
    assert new.submission_id != old.submission_id


async def test_large_content_is_copied_for_blobs_are_never_shared(kafka: Kafka) -> None:
    replica = Replica(kafka, ReadSide())
    message_id = (await replica.send(bcc=[], text="t" * 200_000))["message_id"]
    replica.read_side.dead = [message_id]
    new = submit_of(kafka, orjson.loads((await replica.one(message_id)).body)["message_id"])
    old = submit_of(kafka, message_id)
    assert new.content.blob is not None
    assert old.content.blob is not None
    assert new.content.blob.key != old.content.blob.key
    assert kafka.blobs[new.content.blob.key] == kafka.blobs[old.content.blob.key]


async def test_what_is_no_dead_letter_is_not_found(kafka: Kafka) -> None:
    """D78: nor is another project's, and the read side is not even asked."""
    replica = Replica(kafka, ReadSide())
    alive = (await replica.send(bcc=[]))["message_id"]
    assert (await refusal(replica.one(alive))).status == 404
    replica.read_side.dead, replica.read_side.away = [alive], True
    stranger = Caller("prj_2", "key_2", "live", ("*",), 1000)
    assert (await refusal(replica.one(alive, caller=stranger))).status == 404
    assert (await refusal(replica.one("msg_0"))).status == 404
    assert (await refusal(replica.one(alive))).code == "unavailable"
    assert len(kafka.submits) == 1


async def test_content_that_is_gone_is_said_to_be(kafka: Kafka) -> None:
    replica = Replica(kafka, ReadSide())
    small = (await replica.send(bcc=[]))["message_id"]
    large = (await replica.send(bcc=[], text="t" * 200_000))["message_id"]
    replica.read_side.dead, replica.log.expired = [small, large], {small}
    kafka.blobs.clear()
    for message_id in (small, large):
        refused = await refusal(replica.one(message_id))
        assert (refused.status, refused.code) == (409, "content_expired")


async def test_today_decides_who_may_send(kafka: Kafka) -> None:
    replica = Replica(kafka, ReadSide())
    message_id = (await replica.send(bcc=[]))["message_id"]
    replica.read_side.dead = [message_id]
    replica.senders.domains.clear()
    assert (await refusal(replica.one(message_id))).code == "sender_not_allowed"


async def test_a_mail_of_a_test_key_never_becomes_a_real_one(kafka: Kafka) -> None:
    replica = Replica(kafka, ReadSide())
    tester = Caller("prj_1", "key_2", "test", ("*",), 1000)
    message_id = (await replica.send(tester, bcc=[]))["message_id"]
    replica.read_side.dead = [message_id]
    assert (await refusal(replica.one(message_id))).code == "conflict"
    new = orjson.loads((await replica.one(message_id, caller=tester)).body)["message_id"]
    assert submit_of(kafka, new).environment == "test"


async def test_a_single_one_has_nothing_to_say(kafka: Kafka) -> None:
    refused = await refusal(Replica(kafka, ReadSide()).one("msg_0", body=b'{"recipient": "a@b.example"}'))
    assert [fault.field for fault in refused.faults] == ["recipient"]


async def test_of_many_each_is_judged_for_itself(kafka: Kafka) -> None:
    replica = Replica(kafka, ReadSide())
    good, gone, alive = [(await replica.send(bcc=[]))["message_id"] for _ in range(3)]
    replica.read_side.dead, replica.log.expired = [good, gone], {gone}
    answer = orjson.loads((await replica.many({"message_ids": [alive, good, "msg_0", gone]})).body)
    assert answer["object"] == "list"
    assert answer["batch_id"].startswith("bat_")
    data = answer["data"]
    assert [item["redrive_of"] for item in data] == [alive, good, "msg_0", gone]
    assert [item.get("error", {}).get("code") for item in data] == ["not_found", None, "not_found", "content_expired"]
    assert submit_of(kafka, data[1]["message_id"]).redrive_of == good
    assert len(kafka.submits) == 4


async def test_many_by_what_they_have_in_common(kafka: Kafka) -> None:
    replica = Replica(kafka, ReadSide())
    ids = [(await replica.send(bcc=[]))["message_id"] for _ in range(3)]
    replica.read_side.dead = ids
    answer = orjson.loads((await replica.many({"filters": {"tag": "otp"}, "limit": 2})).body)
    assert [item["redrive_of"] for item in answer["data"]] == ids[:2]


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_fault_at_every_step(many: bool, after: bool) -> None:
    """D6, D17: the request dies at step 1, 2, 3 …; with its key, a retry elsewhere completes the same messages. It asks
    nobody again which those are: by then the read side says something else.
    """
    hit = 0
    for step in range(1, 10):
        kafka, read_side = Kafka(HandClock()), ReadSide()
        sent = [(await Replica(kafka, read_side).send(bcc=[], text="t" * 200_000))["message_id"] for _ in range(2)]
        read_side.dead = sent if many else sent[:1]
        faults = Faults(step, after)

        async def asked(replica: Replica, many: bool = many, sent: list[str] = sent) -> Answer:
            return await (replica.many({"filters": {}}, "k") if many else replica.one(sent[0], "k"))

        try:
            first: bytes | None = (await asked(Replica(kafka, read_side, faults))).body
        except Died:
            first = None
        hit += faults.steps >= step
        claimed = bool(kafka.holders)
        if claimed:
            read_side.dead = []
        answer, again = [await asked(Replica(kafka, read_side)) for _ in range(2)]
        assert answer.body == again.body
        assert again.replayed
        assert first in {None, answer.body}
        written = {
            (submit.redrive_of, submit.message_id, submit.model_copy(update={"valid_until_ms": 0}).model_dump_json())
            for _, submit, _ in kafka.submits
            if submit.redrive_of is not None
        }
        assert [original for original, _, _ in sorted(written)] == sorted(sent if many else sent[:1])
        if faults.steps < step:
            break
    assert hit == (5 if many else 4)  # store (each), claim, submit (each partition), done


def test_what_is_wanted() -> None:
    assert read_wanted({"message_ids": ["msg_1", "msg_2"]}) == Wanted(("msg_1", "msg_2"), {}, 1000)
    filters = {"category": "ip_blocked", "redriven": True, "tag": None}
    assert read_wanted({"filters": filters, "limit": 5}) == Wanted(
        None, {"category": "ip_blocked", "redriven": "true"}, 5
    )


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {("message_ids", "required")}),
        ({"message_ids": ["a"], "filters": {}}, {("message_ids", "conflict")}),
        ({"message_ids": []}, {("message_ids", "invalid_value")}),
        ({"message_ids": ["a"] * 1001}, {("message_ids", "invalid_value")}),
        ({"message_ids": ["a", 1, "a"]}, {("message_ids[1]", "invalid_type"), ("message_ids[2]", "duplicate")}),
        ({"message_ids": ["a"], "limit": 3}, {("limit", "conflict")}),
        ({"filters": {"color": "red", "tag": 3}, "limit": 0, "x": 1}, {
            ("filters.color", "unknown_field"), ("filters.tag", "invalid_type"), ("limit", "invalid_value"),
            ("x", "unknown_field"),
        }),
    ],
)  # fmt: skip
def test_all_faults_at_once(body: dict[str, Any], faults: set[tuple[str, str]]) -> None:
    with pytest.raises(Refused) as refused:
        read_wanted(body)
    assert {(fault.field, fault.code) for fault in refused.value.faults} == faults
