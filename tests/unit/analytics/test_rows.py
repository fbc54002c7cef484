"""Every record of every topic that analytics reads becomes a row, the same one each time (R30, R35, D102)."""

import orjson
import pytest

from chassis.ids import MessageIds
from chassis.log import Incoming
from schemas.envelope import Envelope, MalformedRecord, decode, encode, to_ms
from schemas.events import MESSAGE_EVENTS, MessageEvent
from schemas.topics import TOPICS
from services.analytics.domain.attempts import AttemptRow
from services.analytics.domain.destinations import DestinationRow
from services.analytics.domain.rows import EventRow, Position, address_of, by_month, event_row
from services.analytics.domain.sandbox import SandboxRow
from services.analytics.handlers import row_of
from tests.kit.examples import Example, examples_of
from tests.kit.history import History

SOURCES = ("message-events", "account-events", "webhook-attempts", "sandbox-mails", "destinations")
EXAMPLES = [(source, example) for source in SOURCES for example in examples_of(source)]
NOW = to_ms("2026-03-01T12:00:00.000Z")


def incoming(value: bytes | None, offset: int = 7) -> Incoming:
    return Incoming("topic", 3, offset, NOW, "key", value, ())


def row_of_event(event: Envelope[MessageEvent]) -> EventRow:
    return event_row(encode(event), MESSAGE_EVENTS, Position("t", 0, 1))


@pytest.mark.parametrize(("source", "example"), EXAMPLES, ids=str)
def test_every_example_of_its_topics_has_a_row(source: str, example: Example) -> None:
    envelope = decode(example.value, TOPICS[source].types)
    row = row_of(incoming(example.value), TOPICS[source])
    assert row == row_of(incoming(example.value), TOPICS[source])
    if isinstance(row, DestinationRow):
        assert row.provider_group == orjson.loads(example.value)["data"]["provider_group"]
        return
    assert row.position == Position("topic", 3, 7)
    assert row.project_id == envelope.project_id
    if isinstance(row, EventRow):
        assert row.event.encode() == example.value  # the bytes themselves, not what we understood of them
        assert (row.event_id, row.event_type, row.subject) == (envelope.id, envelope.type, envelope.subject)
        assert row.event_time == to_ms(envelope.time)
    elif isinstance(row, SandboxRow):
        assert row.mime == orjson.loads(example.value)["data"]["mime"]
    else:
        assert orjson.loads(example.value)["data"].items() <= orjson.loads(row.attempt).items()  # defaults are added


def test_every_type_of_its_topics_has_an_example() -> None:
    assert {example.record_type for _, example in EXAMPLES} == {name for s in SOURCES for name in TOPICS[s].records}


def test_what_a_queued_event_says_of_the_message() -> None:
    history = History(NOW)
    (queued,) = history.life("queued", recipient="Ada@Example.ORG", tags=["a", "b"], metadata={"order": "7"})
    row = row_of_event(queued)
    assert (row.recipient, row.recipient_domain) == ("Ada@Example.ORG", "example.org")
    assert (row.mail_from, row.mail_from_address) == ("Shop <hello@example.com>", "hello@example.com")
    assert (row.mail_subject, row.tags, row.metadata) == ("Your code", ["a", "b"], {"order": "7"})
    assert (row.sequence, row.status, row.attempt, row.next_attempt_at) == (1, "queued", 0, 0)


def test_what_an_outcome_says_of_its_attempt() -> None:
    deferred = History(NOW).life("queued", "accepted", "deferred")[-1]
    row = row_of_event(deferred)
    assert (row.attempt, row.category, row.code, row.enhanced_code) == (1, "transient", 451, "4.7.1")
    assert (row.reply, row.reason) == ("451 4.7.1 said so", "retry_ladder")
    assert row.next_attempt_at == row.event_time + 30_000
    assert (row.mail_from, row.mail_subject) == ("", "")


def test_how_long_it_took_and_that_scheduled_mail_waits_because_it_was_told_to_R33() -> None:
    life = History(NOW).life("queued", "accepted", "deferred", "delivered")
    created = to_ms(life[0].data.created_at)  # type: ignore[attr-defined]  # the first is queued
    rows = [row_of_event(event) for event in life]
    took = [to_ms(event.time) - created for event in life]
    assert [row.first_attempt_ms for row in rows] == [-1, -1, took[2], -1]
    assert [row.delivered_ms for row in rows] == [-1, -1, -1, took[3]]
    assert [row.path for row in rows] == ["", "main", "main", "main"]
    ids = MessageIds({1: b"0123456789abcdef"}, 1)
    known = ids.new(project_id="prj_1", now_ms=NOW, lane="standard", partition=1, scheduled=True)
    scheduled = History(NOW).life("queued", "accepted", "delivered", message_id=known)[-1]
    row = row_of_event(scheduled)
    assert (row.first_attempt_ms, row.delivered_ms) == (-1, -1)


def test_why_a_message_was_suppressed_or_held() -> None:
    history = History(NOW)
    for step, reason in (("suppressed", "hard_bounce"), ("held", "internal_error")):
        event = history.life("queued", step)[-1]
        assert row_of_event(event).reason == reason


@pytest.mark.parametrize(
    ("record_type", "status"),
    [
        ("message.scheduled", "scheduled"), ("message.rescheduled", "scheduled"),
        ("message.cancelled", "cancelled"), ("message.expired", "expired"),
    ],
)  # fmt: skip
def test_why_a_message_waits_for_its_time_or_was_given_up(record_type: str, status: str) -> None:
    """R6, R7."""
    example = next(each for _, each in EXAMPLES if each.record_type == record_type)
    said = orjson.loads(example.value)["data"]
    row = event_row(example.value, MESSAGE_EVENTS, Position("t", 0, 1))
    assert (row.status, row.reason) == (status, said["reason"])
    assert row.next_attempt_at == (to_ms(said["next_attempt_at"]) if "next_attempt_at" in said else 0)


@pytest.mark.parametrize("record_type", ["message.complained", "message.unsubscribed"])
def test_a_report_keeps_why_and_until_when_a_message_waits(record_type: str) -> None:
    """R30: the latest row is what is shown of a message."""
    example = next(each for _, each in EXAMPLES if each.record_type == record_type)
    event = decode(example.value, MESSAGE_EVENTS)
    waits = event.data.model_copy(update={"reason": "retry_ladder", "next_attempt_at": event.time})
    row = row_of_event(event.model_copy(update={"data": waits}))
    assert (row.reason, row.next_attempt_at) == ("retry_ladder", row.event_time)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2026-99-99T99:99:99.999Z"},
        {"time": "1969-12-31T23:59:59.999Z"},
        {"time": "2106-02-07T06:28:16.000Z"},  # beyond 32-bit seconds the row's age would wrap round
        {"subject": "msg_other"},
        {"sequence": None},
        {"sequence": 0},
        {"sequence": 2**32},
    ],
    ids=str,
)
def test_a_row_that_has_no_place_is_named_not_made_up_D102(change: dict[str, object]) -> None:
    (queued,) = History(NOW).life("queued")
    raw = orjson.dumps(orjson.loads(encode(queued)) | change)
    with pytest.raises(MalformedRecord):
        row_of(incoming(raw), TOPICS["message-events"])


def test_an_attempt_number_that_does_not_fit_is_refused_D102() -> None:
    raw = orjson.loads(encode(History(NOW).life("queued", "delivered")[-1]))
    raw["data"]["attempt"]["code"] = 2**16
    value = orjson.dumps(raw)
    with pytest.raises(MalformedRecord, match="out of range"):
        row_of(incoming(value), TOPICS["message-events"])


# What the row is made of: without it, or with another type of value in its place, a record is none of ours.
NEEDED = {
    "message.queued": (
        "id", "type", "subject", "time", "projectid", "sequence", "data", "data.message_id", "data.recipient", "data.status",
        "data.tags", "data.metadata", "data.environment", "data.from", "data.subject", "data.priority", "data.channel",
    ),
    "message.delivered": (
        "data.category", "data.attempt", "data.attempt.number", "data.attempt.path", "data.attempt.started_at",
        "data.attempt.finished_at",
    ),
    "suppression.added": ("id", "type", "subject", "time", "projectid"),
}  # fmt: skip


@pytest.mark.parametrize("lacks", [True, False], ids=["missing", "of another type"])
@pytest.mark.parametrize(("record_type", "field"), [(name, field) for name in NEEDED for field in NEEDED[name]])
def test_a_field_that_the_row_needs_is_looked_at_though_no_model_is_made_D102(
    record_type: str, field: str, *, lacks: bool
) -> None:
    source, example = next((source, each) for source, each in EXAMPLES if each.record_type == record_type)
    record = orjson.loads(example.value)
    *parents, name = field.split(".")
    place = record
    for parent in parents:
        place = place[parent]
    del place[name]
    if not lacks:
        place[name] = [7.5]
    with pytest.raises(MalformedRecord):
        row_of(incoming(orjson.dumps(record)), TOPICS[source])


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"\xff", b"7", b"[]", b"{}", b'{"type":7}', b'{"type":"message.strange"}'], ids=str
)
@pytest.mark.parametrize("source", SOURCES)
def test_what_is_no_record_is_malformed_and_nothing_else_D102(source: str, value: bytes | None) -> None:
    with pytest.raises(MalformedRecord):
        row_of(incoming(value), TOPICS[source])


def test_rows_are_cut_where_the_month_changes_and_keep_their_order() -> None:
    def row(offset: int, day: str) -> AttemptRow:
        return AttemptRow(Position("t", 4, offset), "p", "e", to_ms(f"{day}T00:00:00.000Z"), str(offset), "{}")

    rows = [row(10, "2026-01-31"), row(12, "2026-01-31"), row(13, "2026-02-01"), row(14, "2026-01-31")]
    assert list(by_month(rows)) == [rows[:2], rows[2:3], rows[3:]]


def test_addresses_are_compared_without_name_and_case() -> None:
    assert address_of("Shop <Hello@Example.com>") == "hello@example.com"
    assert address_of("HELLO@example.com") == "hello@example.com"
    assert address_of("not an address") == "not an address"
