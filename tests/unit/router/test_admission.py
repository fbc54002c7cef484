"""Who may go out now: windows, shares, closures, as counts (R10)."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.mail import LANE_OF, Priority
from services.router.domain.admission import TIER, Group, Standing, standing

CRITICAL, HIGH, NORMAL, BULK = range(4)


def full_of(tier: int, *, window: int = 100) -> Group:
    group = Group.of(window)
    while group.takes_at_once(tier):
        group.in_flight[tier] += 1
    return group


def test_each_tier_has_its_window() -> None:
    assert [sum(full_of(tier).in_flight) for tier in (CRITICAL, HIGH, NORMAL, BULK)] == [100, 75, 100, 100]


def test_the_quarter_that_high_may_not_take_is_there_for_critical() -> None:
    group = full_of(HIGH)
    assert not group.takes_at_once(HIGH)
    assert group.takes_at_once(CRITICAL)


def test_normal_leaves_a_tenth_to_bulk_only_while_bulk_waits() -> None:
    group = Group.of(100)
    group.in_flight[NORMAL] = 90
    assert group.has_room(NORMAL)
    group.queued[BULK] = 1
    assert not group.has_room(NORMAL)
    assert list(group.calls()) == [BULK]


def test_a_window_of_one_starves_nobody_above_bulk() -> None:
    group = Group.of(1)
    group.queued[NORMAL] = group.queued[BULK] = 1
    assert list(group.calls()) == [NORMAL]


def test_nobody_passes_an_equal_or_better_that_waits() -> None:
    group = Group.of(100)
    group.queued[NORMAL] = 1
    assert not group.takes_at_once(NORMAL)
    assert not group.takes_at_once(BULK)
    group = Group.of(100)
    group.queued[BULK] = 1
    assert group.takes_at_once(NORMAL)


def test_a_place_is_called_once() -> None:
    group = Group.of(4)
    group.queued[NORMAL] = 3
    assert list(group.calls()) == [NORMAL] * 3
    assert list(group.calls()) == []


def test_a_group_that_has_proven_nothing_gets_a_hundred_and_one_more_for_each_delivery() -> None:
    """R21: of a tarpit all that is handed out comes back, at a cost to others."""
    group = Group.of(300)
    assert group.window == 100
    flying = Standing("example.org", NORMAL, in_flight=True)
    for _ in range(250):
        group.learn(flying, Standing("example.org", NORMAL, delivered=True))
    assert group.window == 300


def test_a_postponed_hand_out_halves_the_window_once_and_each_delivery_widens_it() -> None:
    group = Group.of(100)
    flying = Standing("example.org", NORMAL, in_flight=True)
    for _ in range(3):
        group.learn(flying, Standing("example.org", NORMAL, waiting=True, postponed_until_ms=1_000))
    assert (group.window, group.takes_at_once(NORMAL)) == (50, False)
    assert not group.open(999)
    assert group.open(1_000)
    group.learn(flying, Standing("example.org", NORMAL, delivered=True))
    assert (group.window, group.takes_at_once(NORMAL)) == (51, True)
    for _ in range(9):
        group.close(2_000)
        group.open(2_000)
    assert group.window == 4
    assert not group.open(2_000)


def test_held_mail_waits_for_a_person_and_in_no_queue() -> None:
    held = standing(
        destination="d",
        priority="high",
        status="held",
        in_flight=False,
        reason="internal_error",
        due_at_ms=None,
        closed=False,
    )
    assert (held.waiting, held.queued, held.in_flight) == (False, False, False)


def test_every_priority_is_a_tier_and_express_comes_first() -> None:
    express: set[Priority] = {priority for priority, lane in LANE_OF.items() if lane == "express"}
    assert sorted(TIER.values()) == [CRITICAL, HIGH, NORMAL, BULK]
    assert {TIER[priority] for priority in express} == {CRITICAL, HIGH}


@given(
    window=st.integers(1, 40),
    moves=st.lists(st.tuples(st.sampled_from(["arrive", "call", "end"]), st.integers(0, 3)), max_size=200),
)
def test_the_window_is_never_passed_and_no_place_stays_empty_while_somebody_waits(
    window: int, moves: list[tuple[str, int]]
) -> None:
    group = Group.of(window)
    for what, tier in moves:
        if what == "arrive" and group.takes_at_once(tier):
            group.in_flight[tier] += 1
        elif what == "arrive":
            group.queued[tier] += 1
        elif what == "end" and group.in_flight[tier]:
            group.in_flight[tier] -= 1
        for called in group.calls():
            group.reserved[called] -= 1
            group.queued[called] -= 1
            group.in_flight[called] += 1
        assert sum(group.in_flight) <= window
        assert not group.queued[CRITICAL] or sum(group.in_flight) == window
        assert not group.queued[BULK] or sum(group.in_flight) >= window - window // 4
