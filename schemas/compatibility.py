"""Whether one JSON Schema of a record may follow another: old readers understand new records, new readers old ones (R32).

Pure. Writers are judged as closed (they write what their schema says), readers as open (they pass over fields and values
that they do not know): so a field and a value of an enum may come, and nothing may go or change its type.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]
_PROSE = ("title", "description", "default", "examples", "$id", "$schema", "$defs")  # it judges no value
_APART = ("anyOf", "enum", "properties", "items", "additionalProperties")


def faults(published: Json, now: Json) -> list[str]:
    """What a reader of `published` or of its records would stumble over, a sentence each."""
    return list(_faults("the record", published, now, published, now))


def _faults(at: str, before: Json, after: Json, old: Json, new: Json) -> Iterator[str]:
    """`before` and `after` are parts of the documents `old` and `new`."""
    before, after = _resolved(before, old), _resolved(after, new)
    if "enum" in before and "enum" in after:
        gone = [value for value in before["enum"] if value not in after["enum"]]
        yield from (f"{at}: the value {value!r} is gone" for value in gone)
    if "properties" in before and "properties" in after:
        yield from _object(at, before, after, old, new)
    if "anyOf" in before and "anyOf" in after and len(before["anyOf"]) == len(after["anyOf"]):
        for one, other in zip(before["anyOf"], after["anyOf"], strict=True):
            yield from _faults(at, one, other, old, new)
    for keyword in ("items", "additionalProperties"):
        if isinstance(before.get(keyword), Mapping) and isinstance(after.get(keyword), Mapping):
            yield from _faults(f"{at}[]", before[keyword], after[keyword], old, new)
    if _own(before) != _own(after):
        yield f"{at}: was {_own(before)}, is {_own(after)}"


def _object(at: str, before: Json, after: Json, old: Json, new: Json) -> Iterator[str]:
    for name, said in before["properties"].items():
        here = name if at == "the record" else f"{at}.{name}"
        if name not in after["properties"]:
            yield f"{here}: the field is gone"
        else:
            yield from _faults(here, said, after["properties"][name], old, new)
    required, was = set(after.get("required", ())), set(before.get("required", ()))
    yield from (f"{name} of {at}: it is required now" for name in sorted(required - was))
    yield from (
        f"{name} of {at}: it may be missing now" for name in sorted(was - required) if name in after["properties"]
    )


def _resolved(part: Json, document: Json) -> Json:
    """What it refers to; a constant is an enum of one value, which others may join."""
    while "$ref" in part:
        part = document["$defs"][part["$ref"].rpartition("/")[2]]
    if "const" not in part:
        return part
    return {**{name: said for name, said in part.items() if name != "const"}, "enum": [part["const"]]}


def _own(part: Json) -> Json:
    """What is left to compare: no prose, and of what is looked at by itself only that it is there."""
    own: dict[str, Any] = {name: said for name, said in part.items() if name not in {*_PROSE, *_APART, "required"}}
    return own | {name: bool(part[name]) for name in _APART if name in part} | {"branches": len(part.get("anyOf", ()))}
