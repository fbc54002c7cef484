"""Every record type has a JSON Schema and examples, and the three agree (R32)."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from schemas import generate
from schemas.envelope import MalformedRecord, decode, encode
from schemas.topics import RECORD_TYPES, TOPICS
from tests.kit.examples import EXAMPLES, Example, examples_of_type

EVERY_EXAMPLE = [example for name in RECORD_TYPES for example in examples_of_type(name)]


def test_every_record_type_has_an_example() -> None:
    assert {example.record_type for example in EVERY_EXAMPLE} == set(RECORD_TYPES)


def test_no_example_belongs_to_nothing() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(RECORD_TYPES)


def test_every_record_type_stands_in_a_topic() -> None:
    assert {name for topic in TOPICS.values() for name in topic.records} == set(RECORD_TYPES)


def test_generated_files_are_up_to_date() -> None:
    assert generate.stale() == []


@pytest.mark.parametrize("example", EVERY_EXAMPLE, ids=str)
def test_example_fits_its_schema(example: Example) -> None:
    schema = orjson.loads((Path(generate.HERE) / "json" / f"{example.record_type}.v1.json").read_bytes())
    Draft202012Validator(schema).validate(orjson.loads(example.value))


@pytest.mark.parametrize("example", EVERY_EXAMPLE, ids=str)
def test_example_is_written_back_byte_for_byte(example: Example) -> None:
    assert encode(decode(example.value, RECORD_TYPES)) == example.value


@pytest.mark.parametrize("example", EVERY_EXAMPLE, ids=str)
def test_attributes_may_stand_in_any_order(example: Example) -> None:
    raw = orjson.loads(example.value)
    turned = orjson.dumps(dict(reversed(raw.items())))
    assert decode(turned, RECORD_TYPES) == decode(example.value, RECORD_TYPES)


def test_a_type_that_is_said_twice_is_the_last_one() -> None:
    queued, delivered = next(iter(examples_of_type("message.queued"))).value, b',"type":"message.delivered"}'
    with pytest.raises(MalformedRecord, match=r"message\.delivered"):
        decode(queued[:-1] + delivered, RECORD_TYPES)


@pytest.mark.parametrize("example", EVERY_EXAMPLE, ids=str)
def test_readers_ignore_fields_they_do_not_know(example: Example) -> None:
    raw: dict[str, Any] = orjson.loads(example.value)
    raw["later"] = raw["data"]["later"] = {"anything": 1}
    assert encode(decode(orjson.dumps(raw), RECORD_TYPES)) == example.value


@pytest.mark.parametrize("example", EVERY_EXAMPLE, ids=str)
def test_a_missing_field_is_malformed_for_reader_and_schema(example: Example) -> None:
    schema = orjson.loads((Path(generate.HERE) / "json" / f"{example.record_type}.v1.json").read_bytes())
    payload = RECORD_TYPES[example.record_type]
    required = next(name for name, field in payload.model_fields.items() if field.is_required())
    wire_name = payload.model_fields[required].alias or required
    raw = orjson.loads(example.value)
    del raw["data"][wire_name]
    assert not Draft202012Validator(schema).is_valid(raw)
    with pytest.raises(MalformedRecord):
        decode(orjson.dumps(raw), RECORD_TYPES)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"type": "no.such"}',
        b'{"type": 7}',
        b'{"type": "input.due"}',
        b"1e999",
    ],
)
def test_what_is_no_record_is_malformed_and_nothing_else(value: bytes | None) -> None:
    with pytest.raises(MalformedRecord):
        decode(value, RECORD_TYPES)


def test_public_topics_carry_no_body_and_no_secret() -> None:
    hidden = {"text", "html", "content", "sha256", "sealed_secret", "body"}
    for topic in TOPICS.values():
        if topic.public:
            for name in topic.records:
                assert hidden.isdisjoint(RECORD_TYPES[name].model_fields), name
