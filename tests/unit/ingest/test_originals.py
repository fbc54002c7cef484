"""The search for submissions in one partition of the log (R29)."""

from aiokafka import ConsumerRecord

from chassis.ids import MessageId, MessageIds
from schemas.envelope import encode, seal
from schemas.inputs import Due, Submit
from schemas.topics import TOPICS
from services.ingest.adapters.originals import AFTER_MS, BEFORE_MS, Search
from tests.kit.examples import examples_of_type

IDS = MessageIds({1: b"0123456789abcdef"}, 1)
NOW, HOUR = 1_790_000_000_000, 3_600_000
(EXAMPLE,) = examples_of_type("input.submit")
SUBMIT = Submit.model_validate_json(EXAMPLE.value.partition(b'"data":')[2][:-1])


def message(at_ms: int = NOW) -> MessageId:
    return IDS.new(project_id="prj_1", now_ms=at_ms, lane="standard", partition=3)


def submit_of(wanted: MessageId, **changes: int) -> Submit:
    times = {"created_at_ms": wanted.created_at_ms, "valid_until_ms": wanted.created_at_ms + 2500}
    return SUBMIT.model_copy(update={"message_id": wanted.text, **times, **changes})


def record(data: Submit | Due, at_ms: int) -> ConsumerRecord:
    envelope = seal(data, record_id="inp_1", source="test", subject=data.message_id, time_ms=at_ms, project_id="prj_1")
    topic = TOPICS["message-inputs.standard"].name
    key, value = data.message_id.encode(), encode(envelope)
    return ConsumerRecord(topic, 3, 0, at_ms, 1, key, value, None, len(key), len(value), ())


def test_it_is_found_among_others_and_other_inputs_of_its_own() -> None:
    wanted, other = message(), message()
    search = Search([wanted])
    due = Due(message_id=wanted.text, kind="retry", attempt=1, dispatch=1)
    assert search.jump_ms() == NOW - BEFORE_MS
    assert search.take(record(submit_of(other), NOW)) == 0
    assert search.take(record(due, NOW)) == 0
    assert not search.over
    assert search.take(record(submit_of(wanted), NOW + 5)) > 0
    assert search.over
    assert search.found == {wanted.text: submit_of(wanted)}


def test_what_landed_too_late_is_void_for_the_router_and_here() -> None:
    wanted = message()
    search = Search([wanted])
    search.take(record(submit_of(wanted, valid_until_ms=NOW + 10), NOW + 11))
    assert not search.over
    search.take(record(submit_of(wanted), NOW + 20))
    assert search.found == {wanted.text: submit_of(wanted)}


def test_it_is_given_up_where_the_log_begins_later_or_ends_before() -> None:
    gone, missing = message(NOW - HOUR), message(NOW + HOUR)
    search = Search([missing, gone])
    search.take(record(submit_of(message()), gone.created_at_ms + AFTER_MS + 1))
    assert search.found == {gone.text: None}
    search.end()
    assert (search.over, search.found) == (True, {gone.text: None, missing.text: None})


def test_what_is_near_is_read_on_to_and_what_is_far_is_jumped_to() -> None:
    first, near, far = message(), message(NOW + 10_000), message(NOW + HOUR)
    search = Search([far, first, near])
    search.take(record(submit_of(first), NOW))
    assert search.jump_ms() is None
    search.take(record(submit_of(near), NOW + 10_000))
    assert search.jump_ms() == NOW + HOUR - BEFORE_MS
