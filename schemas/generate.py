"""Writes what is generated from the contract: one JSON Schema per record type, and the AsyncAPI document of the public topics.

`python -m schemas.generate` writes, with `--check` it only says what is out of date (exit 1), with `--publish` it makes the
schemas of the public topics the ones that later changes are judged against. A schema describes the whole record, envelope
included, as a writer makes it; readers stay open to fields they do not know.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from schemas.asyncapi import asyncapi, record_schema
from schemas.compatibility import faults
from schemas.topics import RECORD_TYPES, TOPICS

HERE = Path(__file__).parent
ASYNCAPI = HERE / "asyncapi.json"
PUBLISHED = HERE / "published"  # what teams may have built on
Json = dict[str, Any]


def generated() -> Iterator[tuple[Path, bytes]]:
    """Every generated file and what must stand in it."""
    for name in RECORD_TYPES:
        yield HERE / "json" / f"{name}.v1.json", _pretty(_document(name))
    yield ASYNCAPI, _pretty(asyncapi(_examples))


def _document(name: str) -> Json:
    schema = record_schema(name)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = f"urn:sendarix:schema:{name}:v1"
    return schema


def _examples(name: str) -> list[Json]:
    return [orjson.loads(path.read_bytes()) for path in sorted((HERE / "examples" / name).glob("*.json"))]


def _pretty(document: Json) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def stale() -> list[Path]:
    """Files that differ from what the contract says, and schemas that no record type has any more."""
    wanted = dict(generated())
    known = set(wanted)
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_bytes() != text]
    return differing + [path for path in (HERE / "json").glob("*.json") if path not in known]


def broken() -> list[str]:
    """What a team that goes by the published schemas would stumble over."""
    public = {f"{name}.v1": name for topic in TOPICS.values() if topic.public for name in topic.records}
    found: list[str] = []
    for path in sorted(PUBLISHED.glob("*.json")):
        name = public.get(path.stem)
        said = (
            faults(orjson.loads(path.read_bytes()), _document(name)) if name else ["stands in no public topic any more"]
        )
        found += [f"{path.stem}: {fault}" for fault in said]
    return found


def _publish() -> None:
    for name in (name for topic in TOPICS.values() if topic.public for name in topic.records):
        PUBLISHED.mkdir(exist_ok=True)
        (PUBLISHED / f"{name}.v1.json").write_bytes(_pretty(_document(name)))


def main() -> int:
    if said := broken():
        print(*said, "a published field, type or value stays: add beside it", sep="\n", file=sys.stderr)
        return 1
    if "--publish" in sys.argv[1:]:
        _publish()
    elif "--check" in sys.argv[1:]:
        for path in stale():
            print(f"out of date: {path.relative_to(HERE.parent)} (run `make schemas`)", file=sys.stderr)
        return 1 if stale() else 0
    else:
        _write()
    return 0


def _write() -> None:
    for path in stale():
        path.unlink(missing_ok=True)
    for path, text in generated():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)


if __name__ == "__main__":
    sys.exit(main())
