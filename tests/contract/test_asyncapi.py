"""The AsyncAPI document: as committed, sound by AsyncAPI's own schema, and public topics in it only (R32).

`asyncapi-3.0.0.json.gz` is the schema of AsyncAPI 3.0.0 from the npm package @asyncapi/specs 6.11.1 (Apache-2.0), unchanged.
"""

import gzip
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from chassis.log import outgoing
from schemas import generate
from schemas.envelope import decode
from schemas.topics import RECORD_TYPES, TOPICS
from tests.kit.examples import EXAMPLES, Example, examples_of

SPECIFICATION = orjson.loads(gzip.decompress(Path(__file__).with_name("asyncapi-3.0.0.json.gz").read_bytes()))
DOCUMENT: dict[str, Any] = orjson.loads(generate.ASYNCAPI.read_bytes())
PUBLIC = {entry: topic for entry, topic in TOPICS.items() if topic.public}
RECORDS = [(entry, example) for entry in PUBLIC for example in examples_of(entry)]


def test_it_is_an_asyncapi_document() -> None:
    Draft7Validator(SPECIFICATION).validate(DOCUMENT)


def test_the_specification_can_say_no() -> None:
    channel = next(iter(DOCUMENT["channels"].values()))
    bad = DOCUMENT | {"channels": {"x": channel | {"bindings": {"kafka": {"partitions": "twelve"}}}}}
    assert not Draft7Validator(SPECIFICATION).is_valid(bad)


def test_every_public_topic_and_no_other_is_told_with_its_retention() -> None:
    for entry, topic in PUBLIC.items():
        told = DOCUMENT["channels"][entry]
        kafka = told["bindings"]["kafka"]
        assert (told["address"], kafka["partitions"]) == (topic.name, topic.partitions)
        assert set(told["messages"]) == set(topic.records)
        kept = kafka["topicConfiguration"].get("retention.ms")
        assert kept == (None if topic.retention is None else topic.retention.total_seconds() * 1000)
    assert set(DOCUMENT["channels"]) == set(PUBLIC)
    assert "mail.internal" not in generate.ASYNCAPI.read_text()


def test_every_reference_has_its_end() -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', generate.ASYNCAPI.read_text()):
        part = DOCUMENT
        for step in reference.split("/"):
            part = part[step]


@pytest.mark.parametrize(("entry", "example"), RECORDS, ids=str)
def test_a_record_is_as_it_is_told(entry: str, example: Example) -> None:
    """Value and headers, as a service writes them."""
    told = DOCUMENT["components"]["messages"][example.record_type]
    schemas = {"components": DOCUMENT["components"]}
    Draft202012Validator(told["payload"] | schemas).validate(orjson.loads(example.value))
    record = outgoing(
        TOPICS[entry], decode(example.value, RECORD_TYPES), key="k", traceparent=f"00-{'1' * 32}-{'2' * 16}-01"
    )
    headers = {name: value.decode() for name, value in record.headers}
    Draft202012Validator(told["headers"] | {"additionalProperties": False}).validate(headers)
    assert set(headers) == set(told["headers"]["properties"])


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_every_example_is_shown(name: str) -> None:
    shown = [example["payload"] for example in DOCUMENT["components"]["messages"][name]["examples"]]
    assert shown == [orjson.loads(path.read_bytes()) for path in sorted((EXAMPLES / name).glob("*.json"))]
