"""Which senders live and which paths fare well, by what they tell (R20)."""

import pytest

from rules.health import Tally, is_bad
from schemas.routing import PathHealth, SenderAlive
from services.router.adapters.path_watch import PathWatch
from tests.kit import router_tables as make
from tests.kit.router_inputs import START_MS

PLACE = ("ups_1", "google")


class Watched:
    """A watch on a clock that only the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.watch = PathWatch(self)
        self._known: dict[str, PathHealth | SenderAlive] = {}

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return START_MS + round(self.seconds * 1000)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")

    def tell(self, key: str, entry: PathHealth | SenderAlive | None) -> None:
        self.watch.changed(key, self._known.get(key), entry)
        if entry is None:
            del self._known[key]
        else:
            self._known[key] = entry


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.parametrize(
    ("before", "outcomes", "bad", "after"),
    [
        (False, 19, 19, False),  # too few prove nothing
        (False, 20, 9, False),
        (False, 20, 10, True),
        (False, 1_000, 499, False),
        (True, 4, 0, True),  # a trickle has to prove it
        (True, 5, 1, False),
        (True, 5, 2, True),
        (True, 100, 21, True),
        (True, 0, 0, False),  # nothing is known of it any more
    ],
)
def test_thresholds(before: bool, outcomes: int, bad: int, after: bool) -> None:
    assert is_bad(before, Tally(outcomes, bad)) == after


def test_a_path_is_bad_by_what_all_its_senders_and_addresses_measured(watched: Watched) -> None:
    watched.tell("a", make.health(*PLACE, delivered=4, deferred=8, failed=8))
    assert watched.watch.look().bad == frozenset()
    watched.tell("b", make.health(*PLACE, bounced=8, blocked=8))
    assert watched.watch.look().bad == {PLACE}
    watched.tell("b", make.health(*PLACE, delivered=8))
    watched.tell("a", make.health(*PLACE, delivered=12))
    assert watched.watch.look().bad == frozenset()


def test_an_unknown_recipient_or_a_full_mailbox_says_nothing_of_the_path(watched: Watched) -> None:
    watched.tell("a", make.health(*PLACE, bounced=500, deferred=500))
    assert watched.watch.look().bad == frozenset()


def test_what_nobody_says_again_lapses(watched: Watched) -> None:
    watched.tell("a", make.health(*PLACE, deferred=100, failed=100))
    assert watched.watch.look().bad == {PLACE}
    watched.seconds = 290
    assert watched.watch.look().bad == {PLACE}
    watched.seconds = 320
    assert watched.watch.look().bad == frozenset()


def test_it_is_closed_only_while_every_sender_has_it_closed(watched: Watched) -> None:
    watched.tell("a", make.health(*PLACE, closed_until_ms=START_MS + 60_000))
    assert watched.watch.look().closed_until_ms == {PLACE: START_MS + 60_000}
    watched.tell("b", make.health(*PLACE))
    assert watched.watch.look().closed_until_ms == {}
    watched.tell("b", None)
    assert watched.watch.look().closed_until_ms == {PLACE: START_MS + 60_000}


def test_a_sender_lives_by_its_heartbeat_whatever_its_clock_says(watched: Watched) -> None:
    assert watched.watch.look().heard == frozenset()
    watched.tell("main:1", make.alive("upstream", "mx:main", at_ms=0))
    assert watched.watch.look().alive == {("main", "upstream"), ("main", "mx:main"), ("main", "sandbox")}
    watched.seconds = 9
    watched.tell("main:1", make.alive("upstream", at_ms=1))
    watched.seconds = 18
    assert watched.watch.look().alive == {("main", "upstream"), ("main", "sandbox")}
    watched.seconds = 20
    seen = watched.watch.look()
    assert not seen.alive
    assert seen.heard == {"main"}


def test_a_sender_that_says_goodbye_is_gone_at_once(watched: Watched) -> None:
    watched.tell("main:1", make.alive("upstream"))
    watched.tell("main:1", None)
    seen = watched.watch.look()
    assert not seen.alive
    assert seen.heard == {"main"}
