"""Writes what is generated from the contract: one JSON Schema per record type, and the AsyncAPI document of the public topics.

`python -m schemas.generate` writes, with `--check` it only says what is out of date (exit 1). A schema describes the
whole record, envelope included, as a writer makes it; readers stay open to fields they do not know.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from schemas.envelope import CONTENT_TYPE, Envelope
from schemas.topics import RECORD_TYPES, TOPICS, Topic

HERE = Path(__file__).parent
Json = dict[str, Any]


def record_schema(name: str) -> Json:
    """The JSON Schema (2020-12) of one record type."""
    schema = Envelope[RECORD_TYPES[name]].model_json_schema(by_alias=True)  # type: ignore[valid-type]  # a type from data
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = f"urn:sendarix:schema:{name}:v1"
    schema["title"] = name
    schema["properties"]["type"] = {"const": name}
    return schema


def asyncapi() -> Json:
    """What internal teams may subscribe to: AsyncAPI 3.0, public topics only."""
    public = [topic for topic in TOPICS.values() if topic.public]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sendarix topics",
            "version": "1",
            "description": "Events of messages and accounts. Changes are additive; a breaking one is a new type.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.entry: _channel(topic) for topic in public},
        "operations": {
            f"receive-{topic.entry}": {"action": "receive", "channel": {"$ref": f"#/channels/{topic.entry}"}}
            for topic in public
        },
    }


def _channel(topic: Topic) -> Json:
    retention = {"retention.ms": int(topic.retention.total_seconds() * 1000)} if topic.retention else {}
    return {
        "address": topic.name,
        "description": topic.about,
        "messages": {name: _message(topic, name) for name in topic.records},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": [topic.cleanup], **retention},
            }
        },
    }


def _message(topic: Topic, name: str) -> Json:
    examples = [orjson.loads(path.read_bytes()) for path in sorted((HERE / "examples" / name).glob("*.json"))]
    return {
        "name": name,
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"json/{name}.v1.json"},
        "headers": {
            "type": "object",
            "properties": {
                "content-type": {"const": CONTENT_TYPE},
                "ce_type": {"const": name},
                "ce_id": {"type": "string"},
                "traceparent": {"type": "string", "description": "W3C Trace Context; may be absent"},
            },
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
        "examples": [{"payload": example} for example in examples],
    }


def generated() -> Iterator[tuple[Path, bytes]]:
    """Every generated file and what must stand in it."""
    for name in RECORD_TYPES:
        yield HERE / "json" / f"{name}.v1.json", _pretty(record_schema(name))
    yield HERE / "asyncapi.json", _pretty(asyncapi())


def _pretty(document: Json) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def stale() -> list[Path]:
    """Files that differ from what the contract says, and schemas that no record type has any more."""
    wanted = dict(generated())
    known = set(wanted)
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_bytes() != text]
    return differing + [path for path in (HERE / "json").glob("*.json") if path not in known]


def main() -> int:
    if "--check" in sys.argv[1:]:
        for path in stale():
            print(f"out of date: {path.relative_to(HERE.parent)} (run `make schemas`)", file=sys.stderr)
        return 1 if stale() else 0
    for path in stale():
        path.unlink(missing_ok=True)
    for path, text in generated():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
