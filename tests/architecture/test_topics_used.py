"""Each service touches exactly the topics that topics.yaml says it does (ADR 2)."""

import ast
from pathlib import Path

import pytest

from schemas.topics import TOPICS

SERVICES = Path(__file__).parents[2] / "services"
# The functions of schemas.topics that give a topic of each lane.
BY_LANE = {"message_inputs": "message-inputs.", "message_state": "message-state.", "deliveries": "deliveries."}


def entries_named_in(folder: Path) -> set[str]:
    """Entries that the code names: `TOPICS["…"]`, and the lane functions of schemas.topics."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Subscript(value=ast.Name(id="TOPICS"), slice=ast.Constant(value=str(entry))):
                    found.add(entry)
                case ast.Call(func=ast.Name(id=name)) if name in BY_LANE:
                    found |= {entry for entry in TOPICS if entry.startswith(BY_LANE[name])}
    return found


@pytest.mark.parametrize("service", ["ingest", "router", "sender", "webhooks", "analytics"])
def test_a_service_uses_the_topics_that_the_contract_gives_it(service: str) -> None:
    declared = {entry for entry, topic in TOPICS.items() if service in topic.producers or service in topic.consumers}
    assert entries_named_in(SERVICES / service) == declared


def test_no_topic_name_stands_outside_the_contract() -> None:
    root = SERVICES.parent
    sources = [
        path
        for folder in ("schemas", "rules", "chassis", "services", "deploy")
        for path in (root / folder).rglob("*.py")
    ]
    assert [str(path) for path in sources if any(topic.name in path.read_text() for topic in TOPICS.values())] == []
