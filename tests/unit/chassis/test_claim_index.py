"""The two places where claims are kept say the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chassis.claim_index import ClaimIndex, FileIndex, MemoryIndex, Winner

FIRST = Winner("c1", b"\x00value", 4, 1000, None)


@pytest.fixture(params=["memory", "file"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClaimIndex]:
    made: Callable[[], ClaimIndex] = (
        MemoryIndex if request.param == "memory" else lambda: FileIndex(tmp_path / "i", "t")
    )
    opened = made()
    yield opened
    opened.close()


def test_holds_replaces_and_drops(index: ClaimIndex) -> None:
    assert index.get("k") is None
    index.put("k", 0, FIRST)
    assert index.get("k") == FIRST
    closed = replace(FIRST, closed_by=b"")
    index.put("k", 0, closed)
    assert index.get("k") == closed
    index.put("k", 0, Winner("c2", b"", 9, 2000, None))
    assert index.get("k") == Winner("c2", b"", 9, 2000, None)
    index.drop("k")
    index.drop("k")
    assert index.get("k") is None


def test_old_rows_go_by_their_own_partitions_time(index: ClaimIndex) -> None:
    for n in range(10):
        index.put(f"a{n}", 0, replace(FIRST, offset=n, timestamp_ms=n))
        index.put(f"b{n}", 1, replace(FIRST, offset=n, timestamp_ms=n))
    index.put("a0", 0, replace(FIRST, offset=10, timestamp_ms=10))  # won anew: young again
    index.commit({0: 11}, {0: 5})
    assert [key for key in (f"a{n}" for n in range(10)) if index.get(key)] == ["a0", "a5", "a6", "a7", "a8", "a9"]
    assert all(index.get(f"b{n}") for n in range(10))


def test_purging_takes_turns(index: ClaimIndex) -> None:
    for n in range(1200):
        index.put(f"k{n}", 0, replace(FIRST, offset=n, timestamp_ms=0))
    left = []
    for _ in range(3):
        index.commit({}, {0: 5})
        left.append(sum(index.get(f"k{n}") is not None for n in range(1200)))
    assert left == [700, 200, 0]


def test_a_partition_can_be_forgotten(index: ClaimIndex) -> None:
    index.put("a", 0, FIRST)
    index.put("b", 1, FIRST)
    index.commit({0: 5, 1: 5}, {})
    index.drop_partition(0)
    assert index.get("a") is None
    assert index.get("b") == FIRST
    assert index.position(0) is None


def test_a_file_keeps_rows_and_positions_together(tmp_path: Path) -> None:
    index = FileIndex(tmp_path / "sub" / "i", "t")
    index.put("k", 0, FIRST)
    index.commit({0: 5}, {})
    index.put("uncommitted", 0, FIRST)
    index.close()
    again = FileIndex(tmp_path / "sub" / "i", "t")
    assert (again.get("k"), again.get("uncommitted"), again.position(0)) == (FIRST, None, 5)
    again.close()
    other = FileIndex(tmp_path / "sub" / "i", "another topic")
    assert (other.get("k"), other.position(0)) == (None, None)
    other.close()
