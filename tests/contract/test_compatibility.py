"""What teams have built on stays (R32): the schemas of public records follow the published ones, and the judge is fed bad ones."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from schemas import generate
from schemas.asyncapi import record_schema
from schemas.compatibility import faults

Json = dict[str, Any]
Change = Callable[[Json, Json], object]  # of a schema and of its `data`
BEFORE = record_schema("message.deferred")


def judged(change: Change) -> list[str]:
    after = deepcopy(BEFORE)
    change(after, after["$defs"]["MessageDeferred"])
    return faults(BEFORE, after)


def test_what_is_published_stands() -> None:
    assert generate.broken() == []


def test_every_public_topic_has_been_published() -> None:
    """One that has not may still change: whoever ships it runs `make schemas-publish` first."""
    assert {path.name for path in generate.PUBLISHED.glob("*.json")} >= {
        "message.queued.v1.json",
        "table.suppression.v1.json",
    }


ALLOWED: dict[str, Change] = {
    "nothing": lambda _, data: data,
    "a field that may be missing": lambda _, data: data["properties"].update(later={"type": "integer"}),
    "a value of an enum": lambda root, _: root["$defs"]["Attempt"]["properties"]["phase"]["enum"].append("quit"),
    "other words": lambda root, data: (
        root.update(description="x"),
        data["properties"]["recipient"].update(title="To"),
    ),
    "a constant gets company": lambda root, _: root["properties"].update(
        specversion={"enum": ["1.0", "1.1"], "type": "string"}
    ),
    "another name of a nested shape": lambda root, data: (
        root["$defs"].update(Trial=root["$defs"].pop("Attempt")),
        data["properties"].update(attempt={"$ref": "#/$defs/Trial"}),
    ),
}


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED)
def test_these_may_come(change: Change) -> None:
    assert judged(change) == []


REFUSED: dict[str, tuple[Change, str]] = {
    "removed": (lambda _, data: data["properties"].pop("recipient"), "data.recipient: the field is gone"),
    "removed below": (lambda root, _: root["$defs"]["Attempt"]["properties"].pop("code"), "data.attempt.code: the field is gone"),
    "retyped": (lambda _, data: data["properties"].update(recipient={"type": "integer"}), "data.recipient: was"),
    "may be null": (
        lambda _, data: data["properties"].update(recipient={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "data.recipient: was",
    ),
    "null no more": (lambda _, data: data["properties"].update(rule_id={"type": "string"}), "data.rule_id: was"),
    "retyped beside null": (
        lambda _, data: data["properties"].update(rule_id={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        "data.rule_id: was",
    ),
    "entries retyped": (lambda _, data: data["properties"]["tags"].update(items={"type": "integer"}), "data.tags[]: was"),
    "no list any more": (lambda _, data: data["properties"].update(tags={"type": "object"}), "data.tags: was"),
    "newly required": (lambda _, data: data["required"].append("rule_id"), "rule_id of data: it is required now"),
    "may be missing": (lambda _, data: data["required"].remove("category"), "category of data: it may be missing now"),
    "a value is gone": (
        lambda root, _: root["$defs"]["Attempt"]["properties"]["phase"]["enum"].remove("rcpt"),
        "data.attempt.phase: the value 'rcpt' is gone",
    ),
    "an enum where all was allowed": (
        lambda _, data: data["properties"]["recipient"].update(enum=["a@example.org"]),
        "data.recipient: was",
    ),
    "another pattern": (lambda root, _: root["properties"]["time"].update(pattern="^.*$"), "time: was"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_these_may_not(change: Change, said: str) -> None:
    assert any(fault.startswith(said) for fault in judged(change)), judged(change)


def test_a_record_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "message.forgotten.v1.json").write_text("{}")
    monkeypatch.setattr(generate, "PUBLISHED", tmp_path)
    assert generate.broken() == ["message.forgotten.v1: stands in no public topic any more"]
    assert generate.main() == 1
