"""Versions of routes, upstreams and policies (R20): each carries what it replaced, and an undo is one more."""

import pytest

from schemas.routing import Policy
from services.ingest.domain.faults import Refused
from services.ingest.domain.versions import changed, frame, undone

T1, T2, T3, T4 = (f"2026-01-0{day}T00:00:00.000Z" for day in range(1, 5))
FIRST = Policy.model_validate({"name": "one", "tags": ["a"]} | frame("pol_1", "prj_1", "key_1", T1))


def said(policy: Policy) -> tuple[int, str, list[str], str | None]:
    return policy.version, policy.name, policy.tags, policy.deleted_at


def test_a_change_is_the_next_version_and_keeps_what_it_replaced() -> None:
    second = changed(FIRST, {"name": "two"}, "key_2", T2)
    assert said(second) == (2, "two", ["a"], None)
    assert (second.created_at, second.updated_at, second.updated_by) == (T1, T2, "key_2")
    assert second.previous is not None
    assert (second.previous["name"], "version" in second.previous) == ("one", False)


def test_an_undo_goes_back_and_a_second_one_does_it_again() -> None:
    second = changed(FIRST, {"name": "two", "tags": []}, "key_1", T2)
    third = undone(second, "key_1", T3)
    assert said(third) == (3, "one", ["a"], None)
    assert said(undone(third, "key_1", T4)) == (4, "two", [], None)


def test_a_deletion_is_undone_whole() -> None:
    gone = changed(FIRST, {"deleted_at": T2}, "key_1", T2)
    back = undone(gone, "key_1", T3)
    assert said(back) == (3, "one", ["a"], None)
    assert said(undone(back, "key_1", T4)) == (4, "one", ["a"], T2)


def test_what_was_made_is_not_unmade() -> None:
    with pytest.raises(Refused) as refused:
        undone(FIRST, "key_1", T2)
    assert refused.value.status == 409


def test_a_version_holds_the_one_before_it_and_no_more() -> None:
    """Else each change would double the record."""
    last = FIRST
    for number in range(20):
        last = changed(last, {"name": f"name {number}"}, "key_1", T2)
    assert len(last.model_dump_json()) < 2 * len(changed(FIRST, {"name": "name x"}, "key_1", T2).model_dump_json())
