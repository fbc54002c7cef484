"""The order of work of an acceptance (R1, R3): whatever breaks at whatever step, a retry gives one mail and one answer."""

from typing import Any

import orjson
import pytest

from chassis.blob_keys import sha256_of
from chassis.ids import MessageIds
from chassis.log import LogUnavailable
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.parcels import Parcel
from services.ingest.handlers import AcceptMessage, Answer, SendRequest
from services.ingest.ports import ContentsAway, Senders
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

IDS = MessageIds({1: b"0123456789abcdef"}, 1)
CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)
BODY: dict[str, Any] = {"recipient": ["a@example.org", "b@example.org"], "subject": "s", "text": "t"}

LARGE: dict[str, Any] = BODY | {"text": "t" * 200_000}


class Replica:
    """One process of ingest, on the given log."""

    def __init__(self, kafka: Kafka, faults: Faults | None = None, senders: Senders | None = None) -> None:
        faults = faults or Faults()
        self.inputs = Inputs(kafka, faults)
        self.claims = ClaimLog(kafka, faults)
        self.accept = AcceptMessage(
            kafka.clock,
            IDS,
            senders or Directory(),
            self.inputs,
            self.claims,
            LINKS,
            NoTemplates(),
            NoTemplates(),
            Storage(kafka, faults),
        )

    async def send(self, body: dict[str, Any], key: str | None = "k", caller: Caller = CALLER) -> Answer:
        headers = [] if key is None else [key]
        return await self.accept(SendRequest(caller, orjson.dumps(body), headers))


@pytest.fixture
def kafka() -> Kafka:
    return Kafka(HandClock())


async def refusal(sending: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        await sending
    return refused.value


async def test_without_a_key_nothing_is_claimed(kafka: Kafka) -> None:
    answer = await Replica(kafka).send(BODY, key=None)
    assert not answer.replayed
    assert not kafka.holders
    assert [submit.recipient for _, submit, _ in kafka.submits] == ["a@example.org", "b@example.org"]
    assert len({place for _, _, place in kafka.submits}) == 1


class NoStorage(Storage):
    """It does not answer."""

    async def keep(self, parcel: Parcel) -> None:
        raise ContentsAway


@pytest.mark.parametrize("key", [None, "k"])
async def test_where_the_storage_is_away_nothing_is_half_accepted(kafka: Kafka, key: str | None) -> None:
    """D13."""
    replica = Replica(kafka)
    replica.accept._contents = NoStorage(kafka, Faults())
    refused = await refusal(replica.send(LARGE, key))
    assert (refused.status, refused.code, refused.retry_after is not None) == (503, "unavailable", True)
    assert (kafka.holders, kafka.submits) == ({}, [])
    assert await replica.send(BODY, key)  # what is small needs no storage; the key is free


async def test_a_helper_stores_what_the_winner_would_have(kafka: Kafka) -> None:
    """The winner died with its claim written; by the time of the retry its blob was lost, too."""
    with pytest.raises(Died):
        await Replica(kafka, Faults(2, after=True)).send(LARGE)  # 1 stores, 2 claims
    (winners,) = kafka.blobs
    kafka.blobs.clear()
    assert (await Replica(kafka).send(LARGE)).replayed
    assert list(kafka.blobs) == [winners]
    assert {submit.content.blob and submit.content.blob.key for _, submit, _ in kafka.submits} == {winners}


async def test_a_large_body_is_held_once(kafka: Kafka) -> None:
    """What has been parsed is let go of, before all the rest."""
    raw = bytearray(orjson.dumps(LARGE))
    await Replica(kafka).accept(SendRequest(CALLER, raw, []))
    assert raw == b""


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("error", [Died, LogUnavailable])
@pytest.mark.parametrize("after", [False, True])
async def test_a_fault_at_every_step(error: type[Exception], after: bool, body: dict[str, Any]) -> None:
    """D6, D13, D17: fail at step 1, 2, 3 … until no fault is hit; each time a retry elsewhere completes the same
    message, and what a message names in storage is there.
    """
    hit = 0
    for step in range(1, 10):
        kafka = Kafka(HandClock())
        faults = Faults(step, after, error)
        try:
            first: bytes | None = (await Replica(kafka, faults).send(body)).body
        except (Died, Refused):
            first = None
        assert first is None or len(kafka.submits) == 2, "202 means: in the log"
        hit += faults.steps >= step
        answer = await Replica(kafka).send(body)
        again = await Replica(kafka).send(body)
        assert answer.body == again.body
        assert again.replayed
        assert first in {None, answer.body}
        contents = {
            (submit.message_id, submit.model_copy(update={"valid_until_ms": 0}).model_dump_json())
            for _, submit, _ in kafka.submits
        }
        named = [submit.content.blob for _, submit, _ in kafka.submits if submit.content.blob is not None]
        assert len(named) == (0 if body is BODY else len(kafka.submits))
        assert all(sha256_of(kafka.blobs[blob.key]) == blob.sha256 for blob in named)
        assert len(contents) == 2  # one content for each of the two recipients, however often it was written
        assert {message_id for message_id, _ in contents} == {
            message["message_id"] for message in orjson.loads(answer.body)["messages"]
        }
        if faults.steps < step:
            break
    assert hit == (3 if body is BODY else 4)  # (store,) claim, submit, done


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("claimed", [False, True])
async def test_who_helps_a_dead_winner_may_die_at_every_step_too(claimed: bool, after: bool) -> None:
    """D6, D17: the winner dies at its claim or its submission, the helper at step 1, 2, 3 …; a third one completes."""
    step, reached = 1, True
    while reached:
        kafka = Kafka(HandClock())
        with pytest.raises(Died):
            await Replica(kafka, Faults(1 if claimed else 2, after=True)).send(BODY)
        faults = Faults(step, after)
        try:
            await Replica(kafka, faults).send(BODY)
            reached = False
        except Died:
            pass
        answer = await Replica(kafka).send(BODY)
        assert answer.replayed
        told = {message["message_id"] for message in orjson.loads(answer.body)["messages"]}
        assert {submit.message_id for _, submit, _ in kafka.submits} == told
        assert kafka.holders["prj_1:k"].done
        step += 1
    assert faults.steps == step - 2 == 2, "submit, done; and one round without a death"


@pytest.mark.parametrize("after", [False, True])
async def test_without_a_key_a_death_at_any_step_leaves_all_of_the_request_or_nothing(after: bool) -> None:
    step, reached = 1, True
    while reached:
        kafka = Kafka(HandClock())
        faults = Faults(step, after)
        try:
            await Replica(kafka, faults).send(BODY, key=None)
            reached = False
        except Died:
            pass
        assert len(kafka.submits) == (2 if after or not reached else 0)
        step += 1
    assert faults.steps == 1, "it has one step, the submission"


@pytest.mark.parametrize(("key", "step"), [("k", 1), ("k", 2), (None, 1)], ids=["claim", "submit", "submit, no key"])
async def test_an_append_that_can_not_be_confirmed_is_503_and_says_what_it_means(
    kafka: Kafka, key: str | None, step: int
) -> None:
    refused = await refusal(Replica(kafka, Faults(step, error=LogUnavailable)).send(BODY, key))
    assert (refused.status, refused.code) == (503, "unavailable")
    assert refused.retry_after
    assert "same Idempotency-Key" in refused.hint


async def test_a_replay_asks_no_table_and_validates_nothing(kafka: Kafka) -> None:
    first = await Replica(kafka).send(BODY)
    again = await Replica(kafka, senders=NobodyAsks()).send(BODY)
    assert again == Answer(first.body, replayed=True)
    assert len(kafka.submits) == 2


async def test_a_reused_key_is_found_before_validation(kafka: Kafka) -> None:
    await Replica(kafka).send(BODY)
    assert (await refusal(Replica(kafka).send({"nonsense": 1}))).code == "idempotency_key_reused"


async def test_the_loser_of_a_race_answers_as_the_winner(kafka: Kafka) -> None:
    """It did not know of the winner when it claimed; reading back told it."""
    first = await Replica(kafka).send(BODY)
    loser = Replica(kafka)
    loser.claims.lags = True
    assert await loser.send(BODY) == Answer(first.body, replayed=True)
    assert len(kafka.submits) == 2
    other = Replica(kafka)
    other.claims.lags = True
    assert (await refusal(other.send({**BODY, "subject": "x"}))).code == "idempotency_key_reused"


async def claimed_only(kafka: Kafka) -> None:
    """A winner that died after its claim."""
    with pytest.raises(Died):
        await Replica(kafka, Faults(1, after=True)).send(BODY)


async def test_losers_wait_half_a_second_and_then_help(kafka: Kafka) -> None:
    await claimed_only(kafka)
    kafka.clock.ms += 200
    helper = Replica(kafka, senders=NobodyAsks())
    begun = kafka.clock.ms
    answer = await helper.send(BODY)
    assert helper.claims.waited == [pytest.approx(0.3)]
    assert kafka.clock.ms - begun == 300
    assert [submit.message_id for _, submit, _ in kafka.submits] == [
        message["message_id"] for message in orjson.loads(answer.body)["messages"]
    ]
    # The helper's own deadline, not the winner's: that one is over by the time of a late retry.
    assert {submit.valid_until_ms for _, submit, _ in kafka.submits} == {begun + 2500}
    assert kafka.holders["prj_1:k"].done


async def test_an_old_claim_is_helped_at_once(kafka: Kafka) -> None:
    await claimed_only(kafka)
    kafka.clock.ms += 3_600_000
    helper = Replica(kafka)
    await helper.send(BODY)
    assert helper.claims.waited == [0.0]


async def test_a_helper_with_another_key_of_the_project_writes_as_the_winner(kafka: Kafka) -> None:
    await claimed_only(kafka)
    await Replica(kafka).send(BODY, caller=Caller("prj_1", "key_2", "test", ("*",), 1000))
    assert {(submit.api_key_id, submit.environment) for _, submit, _ in kafka.submits} == {("key_1", "live")}


async def test_two_projects_do_not_meet(kafka: Kafka) -> None:
    """D16."""
    one = await Replica(kafka).send(BODY)
    two = await Replica(kafka).send(BODY, caller=Caller("prj_2", "key_9", "live", ("*",), 1000))
    assert one.body != two.body
    assert not two.replayed


async def test_the_whole_request_has_one_deadline(kafka: Kafka) -> None:
    """The clock runs out in the wait for the winner: 503, and nothing is written after it."""
    await claimed_only(kafka)

    class SlowClaims(ClaimLog):
        async def wait_done(self, key: str, *, within: float) -> bool:
            self.kafka.clock.ms += 2600
            return False

    helper = Replica(kafka)
    helper.accept = AcceptMessage(
        kafka.clock,
        IDS,
        Directory(),
        helper.inputs,
        SlowClaims(kafka, Faults()),
        LINKS,
        NoTemplates(),
        NoTemplates(),
        Storage(kafka, Faults()),
    )
    assert (await refusal(helper.send(BODY))).status == 503
    assert kafka.submits == []


async def test_a_replica_that_has_not_caught_up_answers_503_to_keys_only(kafka: Kafka) -> None:
    replica = Replica(kafka)
    replica.claims.is_ready = False
    refused = await refusal(replica.send(BODY))
    assert (refused.status, refused.retry_after is not None) == (503, True)
    assert not kafka.holders
    assert not (await replica.send(BODY, key=None)).replayed


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"from": "a@other.example"}, "from", "sender_not_allowed"),
        ({"from": "a@sub.shop.example"}, "from", "sender_not_allowed"),
        ({"subject": "\n"}, "subject", "forbidden_characters"),
    ],
)
async def test_what_is_refused_claims_nothing(kafka: Kafka, changes: dict[str, str], field: str, code: str) -> None:
    """D20: the key is not burnt."""
    refused = await refusal(Replica(kafka).send({**BODY, **changes}))
    assert [(fault.field, fault.code) for fault in refused.faults] == [(field, code)]
    assert not kafka.holders
    assert (await Replica(kafka).send(BODY)).body


@pytest.mark.parametrize("default", [None, "", "not an address", "a@elsewhere.example"])
async def test_a_project_without_a_usable_default_sender(kafka: Kafka, default: str | None) -> None:
    refused = await refusal(Replica(kafka, senders=Directory(default_from=default)).send(BODY))
    assert [fault.field for fault in refused.faults] == ["from"]
