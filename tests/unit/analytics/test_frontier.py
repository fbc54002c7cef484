"""Up to which moment every event is in the store."""

from services.analytics.domain.frontier import Frontier

A, B = ("events", 0), ("events", 1)


def test_a_moment_is_reached_when_all_that_was_appended_by_then_is_inserted() -> None:
    frontier = Frontier()
    frontier.look(1000, {A: 5, B: 0})
    assert frontier.reached({A: 4}) is None
    assert frontier.reached({A: 5}) == 1000, "a partition that nobody has written to is not waited for"
    assert frontier.reached({A: 5}) is None, "it is as it was"


def test_of_several_moments_the_latest_counts_and_a_backlog_is_caught_up_moment_by_moment() -> None:
    frontier = Frontier()
    for moment, end in ((1000, 5), (2000, 7), (3000, 9)):
        frontier.look(moment, {A: end, B: end})
    assert frontier.reached({A: 9, B: 4}) is None
    assert frontier.reached({A: 9, B: 8}) == 2000
    assert frontier.reached({A: 9, B: 9}) == 3000
