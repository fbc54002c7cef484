"""The golden examples of the contract, for the tests of whoever reads or writes those records."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from schemas.topics import TOPICS

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"


@dataclass(frozen=True, slots=True)
class Example:
    """One file. `value` is the record as it would stand in the topic."""

    record_type: str
    name: str
    value: bytes

    def __str__(self) -> str:
        return f"{self.record_type}/{self.name}"


def examples_of_type(record_type: str) -> Iterator[Example]:
    for path in sorted((EXAMPLES / record_type).glob("*.json")):
        yield Example(record_type, path.stem, orjson.dumps(orjson.loads(path.read_bytes())))


def examples_of(entry: str) -> list[Example]:
    """Every example of every record type of a topic, by its entry in topics.yaml."""
    return [example for name in TOPICS[entry].records for example in examples_of_type(name)]
