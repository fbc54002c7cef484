"""Offsets that finish out of order: a commit never passes an unfinished record, and says what is finished above it."""

from hypothesis import given
from hypothesis import strategies as st

from chassis.offsets import METADATA_LIMIT, OffsetTracker

BASE = 1000


def test_the_commit_stays_at_the_lowest_unfinished_record() -> None:
    tracker = OffsetTracker(10)
    assert [tracker.take(offset) for offset in (10, 11, 12)] == [True] * 3
    tracker.finish(11)
    tracker.finish(12)
    assert tracker.commit_point() == (10, "1:1,2")
    tracker.finish(10)
    assert tracker.commit_point() == (13, "")


def test_one_slow_record_does_not_bring_the_finished_ones_back_after_a_take_over() -> None:
    tracker = OffsetTracker(0)
    for offset in range(1000):
        tracker.take(offset)
    for offset in range(1, 1000):
        tracker.finish(offset)
    heir = OffsetTracker.restored(*tracker.commit_point())
    assert [offset for offset in range(1000) if heir.take(offset)] == [0]


def test_a_record_in_flight_is_not_begun_twice() -> None:
    tracker = OffsetTracker(0)
    assert tracker.take(0)
    assert not tracker.take(0)
    assert tracker.in_flight == 1


def test_offsets_that_the_log_does_not_have_hold_nothing_up() -> None:
    tracker = OffsetTracker(5)
    tracker.take(5)
    tracker.take(9)  # 6 to 8 were compacted, or are markers
    tracker.finish(5)
    assert tracker.commit_point()[0] == 9
    tracker.finish(9)
    assert tracker.commit_point() == (10, "")


def test_what_nobody_took_can_not_be_finished() -> None:
    tracker = OffsetTracker(5)
    tracker.finish(7)
    assert tracker.commit_point() == (5, "")


def test_metadata_that_can_not_be_read_is_ignored() -> None:
    for metadata in ("", "{}", "1:", "1:x", "1:1,", "2:1,1", "1:1,1,", "\x00"):
        heir = OffsetTracker.restored(7, metadata)
        assert heir.take(7)
        assert heir.take(8)


def test_metadata_that_would_not_fit_is_cut_not_refused() -> None:
    tracker = OffsetTracker(0)
    for offset in range(40_000):
        tracker.take(offset)
    for offset in range(1, 40_000, 2):
        tracker.finish(offset)
    offset, metadata = tracker.commit_point()
    assert offset == 0
    assert METADATA_LIMIT - 10 < len(metadata) <= METADATA_LIMIT
    heir = OffsetTracker.restored(offset, metadata)
    again = [offset for offset in range(40_000) if heir.take(offset)]
    assert set(range(0, 40_000, 2)) <= set(again)  # nothing unfinished is lost
    assert len(again) < 39_000  # and something was remembered


@given(st.data())
def test_any_history_with_take_overs_loses_nothing_and_repeats_only_what_was_open(data: st.DataObject) -> None:
    """Take in order, finish in any order, crash and restore at any time (D25, D30)."""
    total = 60
    gaps = data.draw(st.sets(st.integers(0, total - 1), max_size=10))
    log = [BASE + offset for offset in range(total) if offset not in gaps]
    tracker, finished, position = OffsetTracker(BASE), set[int](), 0
    in_flight: set[int] = set()
    for _ in range(data.draw(st.integers(0, 120))):
        match data.draw(st.sampled_from(["take", "take", "finish", "finish", "crash"])):
            case "take" if position < len(log):
                offset = log[position]
                position += 1
                if tracker.take(offset):
                    assert offset not in finished, "begun again although it was finished, and said to be"
                    in_flight.add(offset)
                else:
                    assert offset in finished, "left out although it was never finished"
            case "finish" if in_flight:
                offset = data.draw(st.sampled_from(sorted(in_flight)))
                in_flight.discard(offset)
                finished.add(offset)
                tracker.finish(offset)
            case "crash":
                committed, metadata = tracker.commit_point()
                tracker = OffsetTracker.restored(committed, metadata)
                in_flight.clear()
                position = next((i for i, offset in enumerate(log) if offset >= committed), len(log))
            case _:
                pass
        committed, _ = tracker.commit_point()
        assert all(offset in finished for offset in log if offset < committed)
        assert tracker.in_flight == len(in_flight)
