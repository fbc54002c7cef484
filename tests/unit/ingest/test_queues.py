"""Queues as people see them (R21): summed over partitions, filtered, paged, with what stops them."""

from typing import Any

import pytest

from schemas.routing import QueueKind, QueuePause
from schemas.tables import Queue, QueueState
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest, read_page
from services.ingest.domain.queues import (
    Depth,
    Filters,
    Place,
    check_nothing_more,
    depths,
    page_of,
    queue_shown,
    read_filters,
    read_place,
    read_reason,
    with_paused,
)

AT = "2026-01-01T00:00:00.000Z"
LONG, SHORT = "gmail.com", "example.org"


def queue(destination: str, waiting: int, oldest_ms: int | None = None, **more: Any) -> Queue:
    values = {"in_flight": 1, "oldest_ms": oldest_ms, "next_due_ms": None, **more}
    return Queue(destination=destination, waiting=waiting, **values)


STATES = [
    QueueState(
        lane="express",
        partition=0,
        taken_at=AT,
        queues=[
            queue(LONG, 5, 2000, provider_group="google", reason="retry_ladder", next_due_ms=9000),
            queue(SHORT, 2, 1000, reason="greylisted", next_due_ms=4000),
        ],
    ),
    QueueState(
        lane="standard",
        partition=0,
        taken_at=AT,
        queues=[
            queue(LONG, 7, 1500, provider_group="google", reason="admission", next_due_ms=8000),
            queue("googlemail.com", 1, provider_group="google"),
        ],
    ),
]


def pause(kind: QueueKind, name: str, project_id: str = "prj_1") -> QueuePause:
    return QueuePause(project_id=project_id, kind=kind, name=name, reason="x", by="key_1", paused_at=AT)


def test_a_queue_is_the_sum_of_its_parts() -> None:
    found = depths(STATES, Filters())[LONG]
    assert (found.waiting, found.in_flight, found.provider_group) == (12, 2, "google")
    assert (found.oldest_ms, found.reason) == (1500, "admission"), "of the oldest of all"
    assert found.next_due_ms == 8000


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), {LONG: 12, SHORT: 2, "googlemail.com": 1}),
        (Filters(lane="express"), {LONG: 5, SHORT: 2}),
        (Filters(destination=SHORT), {SHORT: 2}),
        (Filters(provider_group="google"), {LONG: 12, "googlemail.com": 1}),
        (Filters(provider_group=SHORT), {SHORT: 2}),  # nobody knows its provider: a group of its own
        (Filters(kind="provider_group"), {"google": 13, SHORT: 2}),
        (Filters(kind="path"), {}),
    ],
)
def test_filters(filters: Filters, expected: dict[str, int]) -> None:
    assert {name: depth.waiting for name, depth in depths(STATES, filters).items()} == expected


def test_what_is_stopped_is_listed_though_nothing_waits() -> None:
    pauses = [pause("destination", "empty.example"), pause("path", "mx:main"), pause("destination", LONG)]
    rows = {row.place.name: row for row in with_paused(depths(STATES, Filters()), pauses, Filters())}
    assert set(rows) == {LONG, SHORT, "googlemail.com", "empty.example"}
    (path,) = with_paused({}, pauses, Filters(kind="path"))
    assert (path.place, path.waiting) == (Place("path", "mx:main"), None)


def test_a_queue_shows_every_pause_that_stops_it() -> None:
    pauses = [pause("destination", LONG), pause("provider_group", "google", ""), pause("destination", SHORT)]
    shown = queue_shown(depths(STATES, Filters())[LONG], pauses)
    assert shown["paused"] is True
    assert [(found["kind"], found["project_id"]) for found in shown["pauses"]] == [
        ("destination", "prj_1"),
        ("provider_group", None),
    ]
    assert (shown["oldest_at"], shown["next_attempt_at"]) == ("1970-01-01T00:00:01.500Z", "1970-01-01T00:00:08.000Z")
    assert queue_shown(depths(STATES, Filters())["googlemail.com"], pauses[:1])["paused"] is False


def test_pages_go_from_the_longest_to_the_shortest_without_a_gap() -> None:
    rows = [Depth(Place("destination", f"d{number}.example"), waiting=number % 3) for number in range(7)]
    seen: list[str] = []
    page: PageRequest | None = PageRequest(2, None)
    while page is not None:
        found, cursor = page_of(rows, page)
        seen += [row.place.name for row in found]
        page = None if cursor is None else read_page({"limit": "2", "after": cursor})
    assert sorted(seen) == sorted(row.place.name for row in rows)
    assert [int(name[1]) % 3 for name in seen] == [2, 2, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "query", "body", "expected"),
    [
        ("Exämple.org", {}, {}, Place("destination", "xn--exmple-cua.org")),
        ("google", {"kind": "provider_group"}, {}, Place("provider_group", "google")),
        ("mx:main", {}, {"kind": "path"}, Place("path", "mx:main")),
        ("ups_0", {"kind": "path"}, {}, Place("path", "ups_0")),
    ],
)
def test_a_queue_by_name(name: str, query: dict[str, str], body: dict[str, Any], expected: Place) -> None:
    assert read_place(name, query, body) == expected


@pytest.mark.parametrize(
    ("name", "kind", "field"),
    [("a b", "destination", "name"), ("G!", "provider_group", "name"), ("x", "path", "name"), ("a.example", 5, "kind")],
)
def test_what_is_no_queue(name: str, kind: Any, field: str) -> None:
    with pytest.raises(Refused) as refused:
        read_place(name, {}, {"kind": kind})
    assert [(fault.field, fault.code) for fault in refused.value.faults] == [(field, "invalid_value")]


def test_what_a_pause_and_the_others_may_say() -> None:
    assert read_reason({"reason": "blocked", "kind": "path"}) == "blocked"
    assert read_reason({}) is None
    for body in ({"reason": "a\nb"}, {"reason": "x" * 501}, {"reason": 5}, {"color": 1}):
        with pytest.raises(Refused):
            read_reason(body)
    with pytest.raises(Refused):
        check_nothing_more({"reason": "x"})


def test_filters_that_are_none() -> None:
    with pytest.raises(Refused) as refused:
        read_filters({"kind": "x", "lane": "fast", "destination": "a b", "provider_group": "G!"})
    assert {fault.field for fault in refused.value.faults} == {"kind", "lane", "destination", "provider_group"}
