"""A few virtual days of the simulation; `python -m tests.simulation --seeds 1000` plays more of them (D112).

`SEED=17 pytest tests/unit/simulation` plays that one. What a day has found is a named case beside the code it was found in.
"""

import os

import pytest

from tests.simulation.run import simulate

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else list(range(1, 11))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_of_trouble_breaks_no_promise(seed: int) -> None:
    verdict = simulate(seed)
    assert verdict.faults == [], f"SEED={seed}"
    assert verdict.ends.total() >= 5, "nothing was sent in it"
    assert verdict.fired, "nothing went wrong in it"


def test_the_same_seed_is_the_same_day() -> None:
    first, second = simulate(4), simulate(4)
    assert (first.fired, first.ends, first.copies) == (second.fired, second.ends, second.copies)
