"""What an ack proves, how the broker's clock is estimated, and how records are written and read."""

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import DuplicateSequenceNumber
from aiokafka.structs import RecordMetadata
from hypothesis import given
from hypothesis import strategies as st

from chassis.log import Ack, BrokerClock, Incoming, Outgoing, acked, incoming, outgoing, tombstone
from chassis.telemetry import traceparent
from schemas.envelope import decode, seal
from schemas.tables import Project
from schemas.topics import TOPICS


def metadata(offset: int = 5, timestamp: int = 1000, timestamp_type: int = 1, log_start: int = 0) -> RecordMetadata:
    return RecordMetadata("t", 0, TopicPartition("t", 0), offset, timestamp, timestamp_type, log_start)


def test_an_ack_says_where_and_when() -> None:
    assert acked(Outgoing("t", "k", b"", valid_until_ms=1), metadata()) == Ack("t", 0, 5, 1000)
    assert acked(Outgoing("t", "k", b""), metadata(timestamp_type=0)) == Ack("t", 0, 5, 1000)


@pytest.mark.parametrize(
    "about",
    [
        metadata(offset=-1),
        metadata(timestamp=-1),
        metadata(offset=2, log_start=-1),  # the fourth record of a batch that the broker "had already"
    ],
)
def test_an_ack_that_says_nothing_is_none(about: RecordMetadata) -> None:
    with pytest.raises(DuplicateSequenceNumber):
        acked(Outgoing("t", "k", b""), about)


def test_validity_needs_the_brokers_clock() -> None:
    with pytest.raises(DuplicateSequenceNumber):
        acked(Outgoing("t", "k", b"", valid_until_ms=1 << 60), metadata(timestamp_type=0))


trips = st.lists(st.tuples(st.floats(0, 2), st.floats(0, 5), st.floats(0, 5)), min_size=1)  # pause, way there, way back


@given(offset_ms=st.integers(-(10**7), 10**7), trips=trips)
def test_the_estimate_is_never_off_by_more_than_the_last_round_trip(
    offset_ms: int, trips: list[tuple[float, float, float]]
) -> None:
    clock, now = BrokerClock(), 1e5
    for pause, there, back in trips:
        sent = now + pause
        landed, now = sent + there, sent + there + back
        clock.observe(round(landed * 1000 + offset_ms), sent, now)
        assert clock.offset_ms is not None
        assert abs(clock.offset_ms - offset_ms) <= (there + back) * 1000 + 1  # 1: timestamps are whole milliseconds


def test_a_slow_ack_does_not_spoil_a_good_estimate() -> None:
    clock = BrokerClock()
    clock.observe(10_001, 5.0, 5.002)
    clock.observe(17_000, 10.0, 15.0)  # landed after two of its five seconds
    assert clock.offset_ms == pytest.approx(4999)


def test_a_step_of_the_brokers_clock_is_followed() -> None:
    clock = BrokerClock()
    clock.observe(10_001, 5.0, 5.002)
    clock.observe(8_001, 6.0, 6.002)
    assert clock.offset_ms == pytest.approx(2000, abs=2)


def consumed(key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]) -> Incoming:
    return incoming(ConsumerRecord("t", 3, 7, 99, 1, key, value, None, 0, 0, headers))


def test_reading_never_fails_on_foreign_bytes() -> None:
    record = consumed(b"\xff\xfekey", None, (("a", None), ("traceparent", b"\xff00")))
    assert record.key == "\ufffd\ufffdkey"
    assert record.value is None
    assert record.headers == (("a", b""), ("traceparent", b"\xff00"))
    assert record.traceparent == "\ufffd00"
    assert consumed(None, b"v", ()) == Incoming("t", 3, 7, 99, "", b"v", ())
    assert consumed(None, b"v", ()).traceparent is None


def test_an_envelope_is_written_with_its_headers_in_order() -> None:
    topic = TOPICS["projects"]
    data = Project(id="proj_1", name="Ä", default_from=None, created_at="2026-01-01T00:00:00.000Z")
    envelope = seal(data, record_id="evt_1", source="t", subject="proj_1", time_ms=1, project_id="proj_1")
    record = outgoing(topic, envelope, key="proj_1", partition=2, valid_until_ms=9, traceparent="00-a-b-01")
    assert (record.topic, record.key, record.partition, record.valid_until_ms) == (topic.name, "proj_1", 2, 9)
    assert record.headers == (
        ("content-type", b"application/cloudevents+json"),
        ("ce_type", b"table.project"),
        ("ce_id", b"evt_1"),
        ("traceparent", b"00-a-b-01"),
    )
    assert decode(record.value, topic.types) == envelope
    assert len(outgoing(topic, envelope, key="proj_1").headers) == 3


def test_the_traceparent_of_the_work_at_hand_is_copied() -> None:
    data = Project(id="proj_1", name="n", default_from=None, created_at="2026-01-01T00:00:00.000Z")
    envelope = seal(data, record_id="evt_1", source="t", subject="proj_1", time_ms=1, project_id="proj_1")
    token = traceparent.set("00-c-d-01")
    try:
        assert outgoing(TOPICS["projects"], envelope, key="k").headers[-1] == ("traceparent", b"00-c-d-01")
    finally:
        traceparent.reset(token)


def test_a_tombstone_has_no_value() -> None:
    assert tombstone(TOPICS["projects"], "k", 1) == Outgoing(TOPICS["projects"].name, "k", None, 1)
