"""Bodies of many small parts (D74): counted before they are parsed, in linear time, and not fooled by strings."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain import json_parts
from services.ingest.domain.faults import Refused
from services.ingest.domain.json_parts import MAX_PARTS, check_parts


def refused(raw: bytes) -> bool:
    try:
        check_parts(raw)
    except Refused as refusal:
        return refusal.status == 413
    return False


@pytest.mark.parametrize(
    "raw", [b"[" + b"[]," * MAX_PARTS, b'{"a":' * (MAX_PARTS + 1), b"[" + b'"",' * MAX_PARTS + b'""]'], ids=len
)
def test_too_many_parts(raw: bytes) -> None:
    assert refused(raw)


@pytest.mark.parametrize(
    "text",
    [b"a,b " * MAX_PARTS, b'\\",[{' * MAX_PARTS, b"\\\\" + b",\\u0022" * MAX_PARTS],
    ids=["commas", "escaped quotes", "escaped backslashes"],
)
@pytest.mark.parametrize("end", [b'"}', b"", b"\\"], ids=["whole", "without an end", "cut in an escape"])
def test_what_stands_in_strings_is_no_part(text: bytes, end: bytes) -> None:
    assert not refused(b'{"text":"' + text + end)


VALUES = st.recursive(
    st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(VALUES)
def test_it_counts_as_a_parser_does(value: object) -> None:
    def parts(found: object) -> int:
        if isinstance(found, list):
            return 1 + max(0, len(found) - 1) + sum(parts(item) for item in found)
        if isinstance(found, dict):
            return 1 + max(0, len(found) - 1) + sum(parts(item) for item in found.values())
        return 0

    raw = orjson.dumps(value)
    assert not _refused_with(parts(value), raw)
    assert parts(value) == 0 or _refused_with(parts(value) - 1, raw)


def _refused_with(most: int, raw: bytes) -> bool:
    before, json_parts.MAX_PARTS = json_parts.MAX_PARTS, most
    try:
        return refused(raw)
    finally:
        json_parts.MAX_PARTS = before
