"""The lease: what proves it, what ends it (D29)."""

from hypothesis import given
from hypothesis import strategies as st

from chassis.lease import Lease

SESSION, MARGIN = 6.0, 1.5


def begun(at: float = 100.0) -> Lease:
    lease = Lease(SESSION, MARGIN)
    lease.begin(at)
    return lease


def test_nothing_is_proven_before_the_group_has_assigned() -> None:
    lease = Lease(SESSION, MARGIN)
    lease.prove(100.0)
    assert not lease.valid(100.0)


def test_an_assignment_alone_proves_nothing() -> None:
    assert not begun().valid(100.0)


def test_a_commit_proves_it_from_the_time_it_was_begun() -> None:
    lease = begun()
    lease.prove(101.0)
    assert lease.ends_at() == 101.0 + SESSION - MARGIN
    assert lease.valid(105.4)
    assert not lease.valid(105.5)


def test_a_proof_begun_before_the_assignment_does_not_count() -> None:
    lease = begun(100.0)
    lease.prove(99.9)
    assert not lease.valid(100.0)


def test_an_older_proof_that_arrives_late_takes_nothing_away() -> None:
    lease = begun()
    lease.prove(102.0)
    lease.prove(101.0)
    assert lease.ends_at() == 102.0 + SESSION - MARGIN


def test_during_a_rebalance_what_is_proven_may_be_used_up_but_is_not_renewed() -> None:
    lease = begun()
    lease.prove(101.0)
    lease.suspend()
    lease.prove(103.0)
    assert lease.valid(105.4)
    assert not lease.valid(105.5)


def test_a_revoked_lease_is_over_at_once_and_stays_so_until_the_next_assignment() -> None:
    lease = begun()
    lease.prove(101.0)
    lease.revoke()
    assert not lease.valid(101.0)
    lease.prove(101.5)
    assert not lease.valid(101.5)
    lease.begin(102.0)
    lease.prove(101.9)
    assert not lease.valid(102.0)
    lease.prove(102.0)
    assert lease.valid(102.0)


@given(st.lists(st.tuples(st.sampled_from(["begin", "prove", "suspend", "revoke"]), st.floats(0, 10)), max_size=30))
def test_a_valid_lease_has_a_proof_of_the_present_assignment_behind_it(steps: list[tuple[str, float]]) -> None:
    """Whatever happens: valid only if a commit, begun after the last assignment and before any rebalance, is young enough."""
    lease, now, counts, proofs = Lease(SESSION, MARGIN), 0.0, False, list[float]()
    for step, passed in steps:
        now += passed
        match step:
            case "begin":
                lease.begin(now)
                counts, proofs = True, []
            case "prove":
                lease.prove(now)
                proofs += [now] if counts else []
            case "suspend":
                lease.suspend()
                counts = False
            case _:
                lease.revoke()
                counts, proofs = False, []
        assert lease.valid(now) == any(now - proof < SESSION - MARGIN for proof in proofs)
