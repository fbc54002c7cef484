"""The AsyncAPI 3.0 document of the public topics: what internal teams may subscribe to, and on what they may rely (R32).

Values in, values out: topics and records come from the contract, examples from the caller. It must never show an internal topic.
"""

from collections.abc import Callable, Sequence
from typing import Any

from schemas.envelope import CONTENT_TYPE, Envelope
from schemas.topics import RECORD_TYPES, TOPICS, Topic

Json = dict[str, Any]
Examples = Callable[[str], Sequence[Json]]  # by record type

_TEXT: Json = {"type": "string"}
_ABOUT = (
    "Events of messages and accounts, and the suppression list. Changes are additive: fields, values of enums and types of "
    "records may come, so readers pass over what they do not know. A breaking change is a new type, beside the old one for a while. "
    "A record may come twice: drop what you have seen by its `id`."
)


def record_schema(name: str, references: str = "#/$defs/{model}") -> Json:
    """The JSON Schema (2020-12) of one record type; what is nested is found at `references`."""
    schema = Envelope[RECORD_TYPES[name]].model_json_schema(by_alias=True, ref_template=references)  # type: ignore[valid-type]  # a type from data
    schema["title"] = name
    schema["properties"]["type"] = {"const": name}
    return schema


def asyncapi(examples: Examples) -> Json:
    public = [topic for topic in TOPICS.values() if topic.public]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Sendarix topics", "version": "1", "description": _ABOUT},
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.entry: _channel(topic) for topic in public},
        "operations": {f"receive-{topic.entry}": _operation(topic) for topic in public},
        "components": {
            "messages": {name: _message(topic, name, examples) for topic in public for name in topic.records},
            "schemas": _schemas([name for topic in public for name in topic.records]),
        },
    }


def _channel(topic: Topic) -> Json:
    retention = {"retention.ms": int(topic.retention.total_seconds() * 1000)} if topic.retention else {}
    kept = "" if topic.retention else " Compacted: the last record of each key stays, a null value takes it away."
    return {
        "address": topic.name,
        "description": topic.about + kept,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.records},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup],
                    **retention,
                    "max.message.bytes": topic.max_bytes,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operation(topic: Topic) -> Json:
    """Every team has consumer groups under its own name, so that one access rule covers them."""
    group = {"type": "string", "pattern": r"^[a-z0-9-]+\.[a-z0-9.-]+$", "description": "<team>.<application>"}
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{topic.entry}"},
        "summary": topic.about,
        "bindings": {"kafka": {"groupId": group, "bindingVersion": "0.5.0"}},
    }


def _message(topic: Topic, name: str, examples: Examples) -> Json:
    return {
        "name": name,
        "summary": _summary(name),
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": {
                "content-type": {"const": CONTENT_TYPE},
                "ce_type": {"const": name, "description": "To choose by, without reading the value."},
                "ce_id": _TEXT | {"description": "The event's id, as in the value."},
                "traceparent": _TEXT | {"description": "W3C Trace Context of the work that wrote the record."},
            },
            "required": ["content-type", "ce_type", "ce_id"],
        },
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"kafka": {"key": _TEXT | {"description": topic.key}, "bindingVersion": "0.5.0"}},
        "examples": [{"payload": example} for example in examples(name)],
    }


def _summary(name: str) -> str:
    return " ".join((RECORD_TYPES[name].__doc__ or name).split("\n\n")[0].split())


def _schemas(names: Sequence[str]) -> Json:
    """Each record's, and once what they share."""
    found: Json = {}
    for name in names:
        schema = record_schema(name, "#/components/schemas/{model}")
        for nested, said in schema.pop("$defs").items():
            assert found.setdefault(nested, said) == said, f"two shapes are named {nested}"
        found[name] = schema
    return found
