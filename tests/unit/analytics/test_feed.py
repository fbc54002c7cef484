"""The feed's order: whatever arrives when, a client that follows its cursor has everything once (R35)."""

import random

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.domain.cursors import Positions
from services.analytics.domain.feed import FeedEntry, Heads, advanced, along, oldest_first
from services.analytics.domain.rows import Position


def entry(partition: int, offset: int, time: int) -> FeedEntry:
    return FeedEntry(Position("t", partition, offset), time, "msg", f"evt_{partition}_{offset}", "message.queued")


def test_between_partitions_the_oldest_head_goes_first() -> None:
    entries = [entry(0, 5, 30), entry(0, 6, 10), entry(1, 9, 20), entry(1, 10, 40)]
    order = [(found.position.partition, found.position.offset) for found in oldest_first(entries, 10)]
    assert order == [(1, 9), (0, 5), (0, 6), (1, 10)]  # 0/6 is older than 0/5, yet the log's order stays


def test_a_partition_of_which_something_was_left_goes_on_behind_what_was_taken() -> None:
    entries = [entry(0, 5, 1), entry(0, 6, 2), entry(1, 9, 3), entry(3, 2, 9)]
    start = {("t", 1): 8, ("t", 2): 4, ("t", 3): 1}
    seen = {("t", partition): 20 for partition in range(5)}
    page = oldest_first(entries, 3)
    assert advanced(start, Heads(entries, seen), page) == {
        ("t", 0): 20,  # all of it was taken: what was looked through needs no second look
        ("t", 1): 20,
        ("t", 2): 20,
        ("t", 3): 1,  # nothing of it was taken
        ("t", 4): 20,
    }
    assert advanced(start, Heads(entries, seen), page[:1])["t", 0] == 6


def test_what_was_inserted_while_it_was_asked_for_counts_as_given() -> None:
    """The ends are read before the events: an event may lie behind them."""
    entries = [entry(0, 30, 1)]
    assert advanced({}, Heads(entries, {("t", 0): 20}), entries) == {("t", 0): 31}


@given(st.integers(0, 2**32))
def test_late_partitions_are_never_passed_over(seed: int) -> None:
    """Partitions grow in any order between pages, a stream breaks off within one; each event is given out once, in order."""
    chance = random.Random(seed)
    log = {
        partition: [entry(partition, offset, chance.randint(0, 9)) for offset in range(20) if chance.random() < 0.5]
        for partition in range(3)
    }
    visible = dict.fromkeys(log, 0)  # offsets below it are inserted; other projects' events fill the gaps
    given_out: list[FeedEntry] = []
    start: Positions = {}
    while True:
        for partition in log:
            visible[partition] = chance.randint(visible[partition], 20)
        limit = chance.randint(1, 5)
        heads = heads_of(log, visible, start, limit + 1)
        page = oldest_first(heads.entries, limit)
        steps = [(found, dict(behind)) for found, behind in along(start, heads, page)]
        assert [found for found, _ in steps] == page
        kept = steps[: chance.randint(0, len(steps))]
        given_out += [found for found, _ in kept]
        start = kept[-1][1] if kept else start if steps else advanced(start, heads, page)
        if not page and set(visible.values()) == {20}:
            break
    for partition, events in log.items():
        assert [found for found in given_out if found.position.partition == partition] == events


def heads_of(log: dict[int, list[FeedEntry]], visible: dict[int, int], start: Positions, count: int) -> Heads:
    entries: list[FeedEntry] = []
    seen: dict[tuple[str, int], int] = {}
    for partition, events in log.items():
        place = ("t", partition)
        found = [e for e in events if start.get(place, 0) <= e.position.offset < visible[partition]][:count]
        entries += found
        seen[place] = found[-1].position.offset + 1 if len(found) == count else visible[partition]
    return Heads(entries, seen)
