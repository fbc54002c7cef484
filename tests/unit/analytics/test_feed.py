"""The feed's order: whatever arrives when, a client that follows its cursor has everything once (R35)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.domain.cursors import Positions
from services.analytics.domain.feed import FeedEntry, advanced, oldest_first
from services.analytics.domain.rows import Position


def entry(partition: int, offset: int, time: int) -> FeedEntry:
    return FeedEntry(Position("t", partition, offset), time, "msg", f"evt_{partition}_{offset}")


def test_between_partitions_the_oldest_head_goes_first() -> None:
    entries = [entry(0, 5, 30), entry(0, 6, 10), entry(1, 9, 20), entry(1, 10, 40)]
    order = [(found.position.partition, found.position.offset) for found in oldest_first(entries, 10)]
    assert order == [(1, 9), (0, 5), (0, 6), (1, 10)]  # 0/6 is older than 0/5, yet the log's order stays


def test_a_page_moves_only_the_partitions_it_took_from() -> None:
    entries = [entry(0, 5, 1), entry(0, 6, 2), entry(1, 9, 3)]
    assert advanced({("t", 1): 8, ("t", 2): 4}, oldest_first(entries, 2)) == {("t", 0): 6, ("t", 1): 8, ("t", 2): 4}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_late_partitions_are_never_passed_over(data: st.DataObject) -> None:
    """Partitions grow in any order between pages; each event is given out once, in its partition's order."""
    log = {
        partition: [
            entry(partition, offset, data.draw(st.integers(0, 9))) for offset in range(data.draw(st.integers(0, 8)))
        ]
        for partition in range(3)
    }
    visible = dict.fromkeys(log, 0)
    given_out: list[FeedEntry] = []
    positions: Positions = {}
    while True:
        for partition, events in log.items():
            visible[partition] = data.draw(st.integers(visible[partition], len(events)))
        limit = data.draw(st.integers(1, 5))
        heads = [
            found
            for partition, events in log.items()
            for found in [
                e for e in events[: visible[partition]] if e.position.offset > positions.get(("t", partition), -1)
            ][: limit + 1]
        ]
        page = oldest_first(heads, limit)
        given_out += page
        positions = advanced(positions, page)
        if not page and all(visible[partition] == len(events) for partition, events in log.items()):
            break
    for partition, events in log.items():
        assert [found for found in given_out if found.position.partition == partition] == events
