"""Times that a customer names (R2, R6): what is one, and what the clock says of it, at the first acceptance only."""

from typing import Any

import orjson
import pytest

from chassis.ids import MessageIds, parse_message_id
from schemas.envelope import to_timestamp
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Fault, Refused
from services.ingest.domain.times import (
    MAX_AHEAD_MS,
    PAST_GRACE_MS,
    Times,
    check_times,
    parse_time,
    read_on_unknown,
    read_times,
)
from services.ingest.handlers import AcceptMessage, Answer, SendRequest
from tests.unit.ingest.stand_ins import (
    LINKS,
    ClaimLog,
    Directory,
    Faults,
    HandClock,
    Inputs,
    Kafka,
    NoTemplates,
    Storage,
)

NOW = 1_790_000_000_000
CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2027-01-31T09:00:00Z", "2027-01-31T09:00:00.000Z"),
        ("2027-01-31T09:00:00", "2027-01-31T09:00:00.000Z"),  # R2: without an offset it is UTC
        ("2027-01-31t09:00:00z", "2027-01-31T09:00:00.000Z"),
        ("2027-01-31 09:00:00Z", "2027-01-31T09:00:00.000Z"),
        ("2027-01-31T09:00:00.5Z", "2027-01-31T09:00:00.500Z"),
        ("2027-01-31T09:00:00.123456789Z", "2027-01-31T09:00:00.123Z"),
        ("2027-01-31T09:00:00+02:00", "2027-01-31T07:00:00.000Z"),
        ("2027-01-31T09:00:00-00:00", "2027-01-31T09:00:00.000Z"),
        ("2027-01-01T00:30:00+14:00", "2026-12-31T10:30:00.000Z"),
        ("2026-12-31T23:30:00-12:00", "2027-01-01T11:30:00.000Z"),
        ("2028-02-29T12:00:00Z", "2028-02-29T12:00:00.000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_utc_whatever_its_offset(text: str, utc: str) -> None:
    ms = parse_time(text)
    assert ms is not None
    assert to_timestamp(ms) == utc


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "tomorrow at 9", "1790000000", "2027-01-31", "2027-01-31T09:00Z", "20270131T090000Z",
        "2027-W04-7T09:00:00Z", "2027-031T09:00:00Z", "2027-1-31T09:00:00Z", "27-01-31T09:00:00Z",
        "2027-02-29T12:00:00Z", "2027-13-01T00:00:00Z", "2027-00-10T00:00:00Z", "2027-04-31T00:00:00Z",
        "2027-01-31T24:00:00Z", "2027-01-31T09:60:00Z", "2016-12-31T23:59:60Z", "2027-01-31T09:00:00,5Z",
        "2027-01-31T09:00:00.Z", "2027-01-31T09:00:00.1234567890Z", "2027-01-31T09:00:00+24:00",
        "2027-01-31T09:00:00+02", "2027-01-31T09:00:00+0200", "2027-01-31T09:00:00+02:60", "2027-01-31T09:00:00 CET",
        "2027-01-31T09:00:00+02:00:30", "2027-01-31T09:00:00Z ", " 2027-01-31T09:00:00Z", "2027-01-31T09:00:00Z\n",
        "+2027-01-31T09:00:00Z", "12027-01-31T09:00:00Z", "9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "\u0662027-01-31T09:00:00Z", "2027-01-31T09:00:00\x00Z",
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert parse_time(text) is None


def faults_in(**body: Any) -> list[tuple[str, str]]:
    faults: list[Fault] = []
    read_times(body, faults)
    read_on_unknown(body, faults)
    return [(fault.field, fault.code) for fault in faults]


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, []),
        ({"scheduled_time": None, "deliver_before": None, "on_unknown": None}, []),
        ({"scheduled_time": 1_790_000_000}, [("scheduled_time", "invalid_type")]),
        ({"scheduled_time": True}, [("scheduled_time", "invalid_type")]),
        ({"deliver_before": ["2027-01-31T09:00:00Z"]}, [("deliver_before", "invalid_type")]),
        ({"scheduled_time": "soon", "deliver_before": "later", "on_unknown": "panic"},
         [("scheduled_time", "invalid_time"), ("deliver_before", "invalid_time"), ("on_unknown", "invalid_value")]),
        ({"on_unknown": 1}, [("on_unknown", "invalid_value")]),
        ({"on_unknown": "hold"}, []),
        ({"scheduled_time": "2027-01-31T09:00:00Z", "deliver_before": "2027-01-31T10:00:00+01:00"},
         [("deliver_before", "before_scheduled_time")]),
        ({"scheduled_time": "2027-01-31T09:00:00Z", "deliver_before": "2027-01-31T09:00:00.001Z"}, []),
    ],
)  # fmt: skip
def test_what_needs_no_clock_is_judged_while_reading(body: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    assert faults_in(**body) == faults


@pytest.mark.parametrize(
    ("times", "faults"),
    [
        (Times(), []),
        (Times(NOW - PAST_GRACE_MS), []),  # it passed while the request was made: at once
        (Times(NOW - PAST_GRACE_MS - 1), [("scheduled_time", "in_the_past")]),
        (Times(NOW + MAX_AHEAD_MS), []),
        (Times(NOW + MAX_AHEAD_MS + 1), [("scheduled_time", "too_far_ahead")]),
        (Times(None, NOW + 1), []),
        (Times(None, NOW), [("deliver_before", "in_the_past")]),
        (Times(0, 1), [("scheduled_time", "in_the_past"), ("deliver_before", "in_the_past")]),
    ],
)
def test_what_the_clock_says(times: Times, faults: list[tuple[str, str]]) -> None:
    if not faults:
        check_times(times, NOW)
        return
    with pytest.raises(Refused) as refused:
        check_times(times, NOW)
    assert refused.value.status == 422
    assert [(fault.field, fault.code) for fault in refused.value.faults] == faults


def test_a_leap_year_is_a_year() -> None:
    """R6: from the 1st of March 2027 to the 1st of March 2028 it is 366 days."""
    now, then = parse_time("2027-03-01T00:00:00Z"), parse_time("2028-03-01T00:00:00Z")
    assert now is not None
    check_times(Times(then), now)


# --- acceptance -------------------------------------------------------------------------------------------------------


def accepting(kafka: Kafka) -> AcceptMessage:
    ids = MessageIds({1: b"0123456789abcdef"}, 1)
    faults = Faults()
    return AcceptMessage(
        kafka.clock,
        ids,
        Directory(),
        Inputs(kafka, faults),
        ClaimLog(kafka, faults),
        LINKS,
        NoTemplates(),
        NoTemplates(),
        Storage(kafka, faults),
    )


async def sent(kafka: Kafka, key: str | None = None, **fields: Any) -> Answer:
    body = {"recipient": "a@example.org", "subject": "s", "text": "t", **fields}
    return await accepting(kafka)(SendRequest(CALLER, orjson.dumps(body), [] if key is None else [key]))


async def test_a_scheduled_mail_says_so_in_its_answer_its_id_and_its_input() -> None:
    """R6."""
    kafka = Kafka(HandClock(NOW))
    later, latest = to_timestamp(NOW + 60_000), to_timestamp(NOW + 90_000)
    answer = orjson.loads(
        (await sent(kafka, scheduled_time=later, deliver_before=latest, on_unknown="hold")).body
    )  # fmt: skip
    assert answer["status"] == "scheduled"
    parsed = parse_message_id(answer["message_id"])
    assert parsed is not None
    assert parsed.scheduled
    ((_, submit, _),) = kafka.submits
    assert (submit.scheduled_ms, submit.deliver_before_ms) == (NOW + 60_000, NOW + 90_000)
    assert submit.on_unknown == "hold"


async def test_a_time_that_has_just_passed_is_at_once() -> None:
    kafka = Kafka(HandClock(NOW))
    answer = orjson.loads((await sent(kafka, scheduled_time=to_timestamp(NOW - 1000))).body)
    assert answer["status"] == "queued"
    parsed = parse_message_id(answer["message_id"])
    assert parsed is not None
    assert not parsed.scheduled


async def test_a_repeat_after_the_time_is_answered_as_the_first_request_was() -> None:
    """R3, R6: the clock counts once. A winner that did not finish is helped by the same rule."""
    kafka = Kafka(HandClock(NOW))
    later = to_timestamp(NOW + 60_000)
    first = await sent(kafka, "k", scheduled_time=later, deliver_before=to_timestamp(NOW + 70_000))
    kafka.clock.ms += 3_600_000
    again = await sent(kafka, "k", scheduled_time=later, deliver_before=to_timestamp(NOW + 70_000))
    assert (again.body, again.replayed) == (first.body, True)
    with pytest.raises(Refused) as refused:
        await sent(kafka, "other", scheduled_time=later)
    assert [fault.code for fault in refused.value.faults] == ["in_the_past"]


async def test_who_helps_after_the_time_writes_what_the_winner_would_have() -> None:
    """R3, R6; D17."""
    kafka = Kafka(HandClock(NOW))
    later = to_timestamp(NOW + 60_000)
    first = await sent(kafka, "k", scheduled_time=later)
    (written,) = [submit for _, submit, _ in kafka.submits]
    kafka.submits.clear()
    holder = kafka.holders["prj_1:k"]
    kafka.holders["prj_1:k"] = type(holder)(holder.claim, holder.claimed_at_ms, done=False)
    kafka.clock.ms += 3_600_000
    helped = await sent(kafka, "k", scheduled_time=later)
    assert helped.body == first.body
    ((_, again, _),) = kafka.submits
    assert again.model_copy(update={"valid_until_ms": written.valid_until_ms}) == written
