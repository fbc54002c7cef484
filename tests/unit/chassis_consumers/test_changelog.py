"""Which changelog records are void, and which keys must be put again (D29)."""

import json
from dataclasses import replace

import pytest

from chassis.changelog import NO_FENCE, Changelog, is_void, marks
from chassis.log import Incoming
from schemas.states import FENCE_KEY


def record(
    offset: int, key: str = "k", *, epoch: int | None = 5, valid_until_ms: int | None = 2000, landed_ms: int = 1000
) -> Incoming:
    data = {"epoch": epoch, "valid_until_ms": valid_until_ms}
    value = json.dumps({"data": {name: number for name, number in data.items() if number is not None}}).encode()
    return Incoming("changelog", 0, offset, landed_ms, key, value, ())


def fence(offset: int) -> Incoming:
    return Incoming("changelog", 0, offset, 1000, FENCE_KEY, b"{}", ())


def tombstone(offset: int, epoch: int, valid_until_ms: int = 2000, landed_ms: int = 1000) -> Incoming:
    return Incoming("changelog", 0, offset, landed_ms, "k", None, marks(epoch, valid_until_ms))


def test_the_owner_of_the_newest_fence_is_live() -> None:
    assert not is_void(record(6, epoch=5), fence=5)


def test_an_older_epoch_behind_a_fence_is_void() -> None:
    assert is_void(record(9, epoch=5), fence=8)


def test_before_any_fence_every_epoch_is_live() -> None:
    assert not is_void(record(9, epoch=0), fence=NO_FENCE)


def test_what_landed_after_its_lease_is_void_whoever_wrote_it() -> None:
    assert is_void(record(6, epoch=5, valid_until_ms=2000, landed_ms=2001), fence=5)
    assert not is_void(record(6, epoch=5, valid_until_ms=2000, landed_ms=2000), fence=5)


def test_records_without_marks_are_live() -> None:
    assert not is_void(record(9, epoch=None, valid_until_ms=None), fence=8)
    assert not is_void(replace(record(9), value=None), fence=8)


def test_a_tombstone_is_judged_by_its_headers() -> None:
    assert is_void(tombstone(9, epoch=5), fence=8)
    assert is_void(tombstone(9, epoch=8, landed_ms=2001), fence=8)
    assert not is_void(tombstone(9, epoch=8), fence=8)


@pytest.mark.parametrize(
    "value", [b"\xff", b"", b"[]", b'"text"', b'{"data": 1}', b'{"data": {"epoch": []}}', b'{"data": {"epoch": "x"}}']
)
def test_what_is_no_record_of_ours_is_void(value: bytes) -> None:
    assert is_void(replace(record(9), value=value), fence=NO_FENCE)


def test_a_changelog_hands_on_what_is_live_in_order_and_never_a_fence() -> None:
    applied: list[int] = []
    changelog = Changelog(lambda live: applied.append(live.offset))
    for step in (fence(1), record(2, epoch=1), fence(3), record(4, epoch=1), record(5, epoch=3), tombstone(6, epoch=3)):
        changelog.apply(step)
    assert applied == [2, 5, 6]
    assert changelog.fence == 3


def test_who_goes_on_in_the_middle_knows_the_fence_before_it() -> None:
    applied: list[int] = []
    fences: list[int] = []
    changelog = Changelog(lambda live: applied.append(live.offset), 3, fences.append)
    for step in (record(5, epoch=1), record(6, epoch=3), fence(7), record(8, epoch=3), record(9, epoch=7)):
        changelog.apply(step)
    assert (applied, fences) == ([6, 9], [7])


def test_a_key_whose_last_record_is_void_is_to_be_put_again_until_a_live_one_comes() -> None:
    changelog = Changelog(lambda live: None)
    for step in (fence(1), record(2, "a", epoch=1), fence(3), record(4, "a", epoch=1), record(5, "b", epoch=1)):
        changelog.apply(step)
    assert changelog.overwritten == {"a", "b"}
    changelog.apply(record(6, "a", epoch=3))
    assert changelog.overwritten == {"b"}
