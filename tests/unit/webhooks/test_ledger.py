"""What is still to be delivered, whatever the log says twice or late (R31, D97)."""

from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.domain.ledger import Ledger
from tests.unit.webhooks.made import NOW_MS, a_delivery


def test_open_until_its_tombstone() -> None:
    ledger = Ledger()
    assert ledger.opened(a_delivery())
    assert ledger.pending == {a_delivery().id: a_delivery()}
    ledger.closed(a_delivery().id)
    assert ledger.pending == {}


def test_a_later_attempt_replaces_and_an_earlier_one_is_overruled() -> None:
    ledger = Ledger()
    third = a_delivery(attempt=3, due_at_ms=NOW_MS + 5)
    ledger.opened(third)
    assert not ledger.opened(a_delivery())
    assert ledger.pending[third.id] is third
    assert ledger.overruled(10) == [(third.id, third)]
    assert not ledger.opened(a_delivery(attempt=3, due_at_ms=NOW_MS + 5))  # our own, read back
    assert ledger.overruled(10) == []


def test_what_was_closed_is_not_opened_by_a_fan_out_that_reads_its_event_again() -> None:
    ledger = Ledger()
    ledger.opened(a_delivery())
    ledger.closed(a_delivery().id)
    assert not ledger.opened(a_delivery())
    assert ledger.pending == {}
    assert ledger.overruled(10) == [(a_delivery().id, None)]
    ledger.closed(a_delivery().id)  # the tombstone, written again
    assert ledger.overruled(10) == []


def test_a_result_counts_before_the_tail_brings_it() -> None:
    ledger = Ledger()
    ledger.opened(a_delivery())
    ledger.settled(a_delivery().id, None)
    assert not ledger.opened(a_delivery())  # re-emitted before our tombstone, read after we knew of it
    ledger.closed(a_delivery().id)
    assert (ledger.pending, ledger.overruled(10)) == ({}, [])


def test_only_the_latest_closed_are_remembered() -> None:
    ledger = Ledger(remember=2)
    for number in (1, 2, 3):
        ledger.closed(a_delivery(number).id)
    assert ledger.opened(a_delivery(1))  # forgotten: sent again, under the same webhook-id
    assert not ledger.opened(a_delivery(2))
    assert not ledger.opened(a_delivery(3))


Said = tuple[int, int | None]  # number of the delivery, attempt; None is a tombstone


@given(st.lists(st.tuples(st.integers(1, 3), st.none() | st.integers(1, 4))))
def test_a_restored_partition_knows_what_the_running_one_knew_once_it_wrote_what_counts(said: list[Said]) -> None:
    log = list(said)
    ledger = folded(log)
    log += [(number_of(key), None if standing is None else standing.version) for key, standing in ledger.overruled(99)]
    compacted = list({number: (number, attempt) for number, attempt in log}.values())
    assert folded(log).overruled(99) == []
    assert folded(compacted).pending == ledger.pending


def number_of(delivery_id: str) -> int:
    return int(delivery_id.rpartition("_")[2])


def folded(log: list[Said]) -> Ledger:
    ledger = Ledger()
    for number, attempt in log:
        if attempt is None:
            ledger.closed(a_delivery(number).id)
        else:
            ledger.opened(a_delivery(number, attempt=attempt))
    return ledger
