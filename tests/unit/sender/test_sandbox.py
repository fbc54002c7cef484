"""The sandbox's answers, and the whole pipeline in front of them (R13)."""

import pytest

from schemas.deliveries import Delivery
from schemas.inputs import AttemptFinished, AttemptUnknown
from schemas.tables import Suppression
from services.sender.domain.mime import compose
from services.sender.domain.outcome import classify
from services.sender.domain.replies import Reply
from services.sender.domain.sandbox import MOST_BYTES, answer_to, is_taken, mail_of
from tests.kit.sender_ports import Process, World
from tests.kit.senders import delivery


def test_mail(recipient: str) -> Delivery:
    return delivery(recipient=recipient, environment="test")


test_mail.__test__ = False  # type: ignore[attr-defined]  # makes one, is none


@pytest.mark.parametrize(
    ("recipient", "outcome", "taken"),
    [
        ("delivered@sandbox.sendarix.test", "delivered", True),
        ("Delivered+order-7@Sandbox.Sendarix.test", "delivered", True),
        ("complaint@sandbox.sendarix.test", "delivered", True),
        ("bounce@sandbox.sendarix.test", "permanent", False),
        ("bounce+a+b@sandbox.sendarix.test", "permanent", False),
        ("defer@sandbox.sendarix.test", "temporary", False),
        ("unknown@sandbox.sendarix.test", "unknown", True),
        ("somebody@sandbox.sendarix.test", "delivered", True),
        ("bounce@example.org", "delivered", True),
        ("bounce@not-sandbox.sendarix.test", "delivered", True),
    ],
)
def test_what_becomes_of_a_mail(recipient: str, outcome: str, taken: bool) -> None:
    assert answer_to(recipient).outcome == outcome
    assert is_taken(answer_to(recipient)) is taken


@pytest.mark.parametrize("name", ["bounce", "defer", "delivered"])
def test_the_answers_mean_what_a_real_servers_would(name: str) -> None:
    answer = answer_to(f"{name}@sandbox.sendarix.test")
    assert answer.code is not None
    assert answer.reply is not None
    assert classify(answer.phase, Reply(answer.code, answer.reply)) == answer


async def test_mail_of_a_test_key_goes_through_the_pipeline_and_no_byte_leaves() -> None:
    world = World()
    item = test_mail("ada@example.org")
    process = Process(world, "s1")
    assert await process.carry_out(item)
    assert world.mails == []
    assert world.sandboxed == [item.message_id]
    assert process.calls == ["history", "slot", "claim", "taken", "record", "report"]
    (told,) = world.inputs
    assert isinstance(told, AttemptFinished)
    assert (told.outcome, told.detail.path) == ("delivered", "sandbox")


async def test_a_suppression_holds_in_the_sandbox_too() -> None:
    item = test_mail("ada@example.org")
    world = World()
    world.at["claim"] = lambda: setattr(world, "suppression", listed("ada@example.org"))
    assert await Process(world, "s1").carry_out(item)
    assert world.sandboxed == []
    assert world.told("refused")


def listed(recipient: str) -> Suppression:
    return Suppression(
        id="sup_1",
        project_id="prj_1",
        scope="*",
        recipient=recipient,
        reason="manual",
        origin="api",
        source_event_id=None,
        created_at="2026-11-24T00:00:00.000Z",
    )


async def test_a_complaint_follows_the_delivery_under_one_id_however_often_it_is_told() -> None:
    world = World()
    item = test_mail("complaint@sandbox.sendarix.test")
    assert await Process(world, "s1").carry_out(item)
    assert await Process(world, "s2").carry_out(item)  # what is in the journal is told again
    assert [type(told) for told in world.inputs] == [AttemptFinished, AttemptFinished]
    first, second = world.heard
    assert (first.kind, first.by) == ("complaint", "sandbox")
    assert first == second
    assert world.sandboxed == [item.message_id]


async def test_complaint_is_a_word_for_test_mail_alone() -> None:
    world = World()
    assert await Process(world, "s1").carry_out(delivery(recipient="complaint@sandbox.sendarix.test"))
    assert [type(told) for told in world.inputs] == [AttemptFinished]
    assert world.heard == []


async def test_an_unknown_outcome_is_told_as_one() -> None:
    world = World()
    assert await Process(world, "s1").carry_out(test_mail("unknown@sandbox.sendarix.test"))
    assert [type(told) for told in world.inputs] == [AttemptUnknown]


def test_the_mail_is_kept_byte_for_byte_unless_it_is_too_large() -> None:
    item = test_mail("ada@example.org")
    mail = compose(item)
    kept = mail_of(item, mail, answer_to(item.recipient), 1_790_000_000_000)
    assert kept.mime is not None
    assert kept.mime.encode() == mail.data
    assert (kept.size, kept.truncated) == (len(mail.data), False)
    content = item.content.model_copy(update={"text": "x" * MOST_BYTES})
    large = item.model_copy(update={"content": content})
    cut = mail_of(large, compose(large), answer_to(item.recipient), 1_790_000_000_000)
    assert (cut.mime, cut.truncated) == (None, True)
    assert cut.size > MOST_BYTES
