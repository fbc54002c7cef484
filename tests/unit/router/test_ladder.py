"""The times of the retry ladder, and what spreads them (R22, D32)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tables import Project
from services.router.adapters.ladders import ProjectLadders
from services.router.domain.ladder import Ladder, jitter_of
from services.router.settings import RouterSettings
from tests.kit import router_inputs as make


def test_the_default_is_the_documented_one() -> None:
    assert Ladder.of(RouterSettings().retry_schedule).waits_ms == (30_000, 300_000, 1_800_000, 7_200_000, 18_000_000)


def test_a_schedule_reads_as_people_write_it() -> None:
    settings = RouterSettings.model_validate({"retry_schedule": "1s,1s,2s,2s,3s"})
    assert settings.retry_schedule == [timedelta(seconds=s) for s in (1, 1, 2, 2, 3)]


def test_after_the_last_there_is_none() -> None:
    assert [Ladder((1, 2)).due_after(attempt, 0, 0) for attempt in (1, 2, 3, 4)] == [1, 2, None, None]


@given(jitter=st.floats(0, 1))
def test_spread_is_at_most_a_twentieth_and_none_for_short_waits(jitter: float) -> None:
    due = Ladder((30_000, 4_999)).due_after(1, 0, jitter)
    assert due is not None
    assert 30_000 <= due <= 31_500
    assert Ladder((4_999,)).due_after(1, 0, jitter) == 4_999


def test_ten_thousand_that_fell_due_together_are_spread_evenly() -> None:  # D32
    buckets = [0] * 10
    for _ in range(10_000):
        buckets[min(9, int(jitter_of(make.message_id(), 1) * 10))] += 1
    assert min(buckets) > 700
    one = make.message_id()
    assert jitter_of(one, 1) == jitter_of(one, 1) != jitter_of(one, 2)


@pytest.mark.parametrize(
    ("own", "attempts"), [(None, None), ([], None), ([1_000], 2), ([30_000, 300_000], 3), ([1_000] * 20, 21)]
)
def test_a_project_has_its_own_ladder_or_none(own: list[int] | None, attempts: int | None) -> None:  # R22
    project = Project(
        id="prj_1", name="x", default_from=None, created_at="2026-01-01T00:00:00.000Z", retry_schedule_ms=own
    )
    ladder = ProjectLadders({"prj_1": project}).of("prj_1")
    if attempts is None:
        assert ladder is None
    else:
        assert ladder is not None
        due = [ladder.due_after(attempt, 0, 0) for attempt in range(1, attempts + 1)]
        assert due == [*(own or []), None]


def test_a_project_nobody_knows_has_none() -> None:
    assert ProjectLadders({}).of("prj_1") is None
