"""Who may begin: bounded, shared out, in order; and who is given back (R10, R21; D34, D51)."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from schemas.mail import Priority
from services.sender.adapters.rooms import Sizes
from services.sender.adapters.slots import PacedSlots
from services.sender.domain.classification import Pace
from services.sender.domain.outcome import Outcome, classify, lost
from services.sender.domain.pacing import signal_of
from services.sender.domain.queue import Candidate
from services.sender.domain.replies import Reply
from services.sender.domain.shaping import Override
from services.sender.ports import Carried, NoRoom, PathLimits, Server, Way

UPSTREAM = Way("upstream", "upstream", servers=(Server("smarthost", 25),))
TAKEN = classify("reply", Reply(250, "250 2.0.0 Ok"))
NOBODY = lost("connect", "no answer in time")
PAUSE = classify("reply", Reply(421, "421-4.7.28 Gmail has detected an unusual rate of unsolicited email - gsmtp"))
BUSY = classify("rcpt", Reply(450, "450 4.2.1 The user is receiving mail at a rate that prevents additional messages"))
DOMAIN = classify(
    "reply", Reply(421, "421-4.7.28 unusual rate of mail originating from your DKIM domain [shop.example]")
)
TRICKLE = classify("mail", Reply(421, "421 4.7.0 [TS02] Messages temporarily deferred"))


def mx(group: str) -> Way:
    return Way("mx:main", group, servers=(Server(f"mx.{group}.example", 25),))


@dataclass
class Said:
    """Policies."""

    groups: dict[str, Override] = field(default_factory=dict)
    destinations: dict[str, Override] = field(default_factory=dict)

    def of_group(self, group: str) -> Override:
        return self.groups.get(group, Override())

    def of_destination(self, group: str, destination: str) -> Override:
        del group
        return self.destinations.get(destination, Override())


class Crowd:
    """Transactions that each end when told to, in a time that passes when told to."""

    def __init__(
        self,
        connections: int = 20,
        *,
        slots: int = 400,
        in_hand: int = 400,
        replicas: int = 1,
        said: Said | None = None,
    ) -> None:
        self.now_ms = 1_000_000
        sizes = Sizes(slots, in_hand, replicas, PathLimits(connections, 100), 30)
        self.slots = PacedSlots(sizes, said or Said(), lambda: self.now_ms)
        self.running: list[str] = []
        self.back: dict[str, NoRoom] = {}
        self._ends: dict[str, asyncio.Future[Outcome | None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, destination: str = "d", priority: Priority = "normal", way: Way = UPSTREAM) -> None:
        self._ends[name] = asyncio.get_running_loop().create_future()
        self._tasks[name] = asyncio.create_task(self._run(name, way, destination, priority))
        await settle()

    async def crowd(self, name: str, count: int, destination: str = "d", way: Way = UPSTREAM) -> None:
        for n in range(count):
            await self.come(f"{name}{n}", destination, way=way)

    async def end(self, *names: str, outcome: Outcome | None = None) -> None:
        for name in names:
            self._ends[name].set_result(outcome)
        await settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await settle()

    async def later(self, seconds: float) -> None:
        """Time passes, second by second."""
        for _ in range(round(seconds)):
            self.now_ms += 1000
            self.slots.tick()
            await settle()

    async def _run(self, name: str, way: Way, destination: str, priority: Priority) -> None:
        try:
            async with self.slots.slot(way, Candidate(destination, priority), within=60) as slot:
                self.running.append(name)
                try:
                    if (outcome := await self._ends[name]) is not None:
                        slot.tell(Carried(outcome))
                finally:
                    self.running.remove(name)
        except NoRoom as error:
            self.back[name] = error

    def count(self) -> Counter[str]:
        return Counter(name.rstrip("0123456789") for name in self.running)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# a smarthost


async def test_never_more_than_its_size_and_the_last_is_critical_mails() -> None:
    crowd = Crowd(5)
    for n in range(10):
        await crowd.come(str(n), destination=f"d{n}")
    assert crowd.running == ["0", "1", "2", "3"]
    await crowd.come("critical", "e", "critical")
    assert crowd.running == ["0", "1", "2", "3", "critical"]
    await crowd.end("1")
    assert crowd.running == ["0", "2", "3", "critical", "4"]


async def test_one_destination_gets_half_at_most() -> None:
    """D34: a destination that hangs leaves room for the others, and those that wait for it are not in their way."""
    crowd = Crowd(6)
    await crowd.crowd("slow", 5, "slow")
    assert crowd.running == ["slow0", "slow1", "slow2"]
    await crowd.later(20)
    await crowd.come("a", destination="a")
    await crowd.come("b", destination="b")
    assert crowd.running == ["slow0", "slow1", "slow2", "a", "b"]
    await crowd.end("a")
    assert crowd.running == ["slow0", "slow1", "slow2", "b"], "the free one is not the slow one's"


async def test_the_higher_priority_goes_first_and_equals_take_turns() -> None:
    crowd = Crowd(1)
    await crowd.come("first")
    order: list[tuple[str, str, Priority]] = [
        ("bulk", "x", "bulk"),
        ("n1", "x", "normal"),
        ("n2", "x", "normal"),
        ("other", "y", "normal"),
        ("high", "x", "high"),
        ("critical", "x", "critical"),
    ]
    for name, destination, priority in order:
        await crowd.come(name, destination, priority)
    seen = []
    for _ in range(7):
        (name,) = crowd.running
        seen.append(name)
        await crowd.end(name)
    assert seen == ["first", "critical", "high", "n1", "other", "n2", "bulk"]


async def test_who_goes_away_leaves_no_hole() -> None:
    crowd = Crowd(1)
    for name in ("a", "b", "c"):
        await crowd.come(name)
    await crowd.cancel("b")
    await crowd.end("a")
    assert crowd.running == ["c"]
    await crowd.cancel("c")
    await crowd.come("d")
    assert crowd.running == ["d"]


async def test_a_slot_that_was_given_to_one_who_just_left_goes_on() -> None:
    crowd = Crowd(1)
    for name in ("holder", "b", "c"):
        await crowd.come(name)
    crowd._ends["holder"].set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the slot is b's now, and b has not run yet
    await crowd.cancel("b")
    assert crowd.running == ["c"]


async def test_patience_ends() -> None:
    slots = Crowd(1).slots
    async with slots.slot(UPSTREAM, Candidate("a", "normal"), within=1):
        with pytest.raises(NoRoom):
            async with slots.slot(UPSTREAM, Candidate("a", "normal"), within=0.01):
                raise AssertionError
    async with slots.slot(UPSTREAM, Candidate("a", "normal"), within=0.01):
        pass


async def test_paths_do_not_share() -> None:
    slots = Crowd(1).slots
    sandbox = Way("sandbox", "a")
    async with (
        slots.slot(UPSTREAM, Candidate("a", "normal"), within=1),
        slots.slot(sandbox, Candidate("a", "normal"), within=1),
    ):
        pass


# providers


async def test_a_new_provider_is_met_with_few_connections_and_more_as_it_takes_mail() -> None:
    crowd = Crowd()
    await crowd.crowd("m", 30, way=mx("apple"))
    assert len(crowd.running) == 1, "two, of which one is critical mail's"
    for n in range(25):
        await crowd.end(f"m{n}", outcome=TAKEN)
    assert len(crowd.running) == 3


async def test_a_limit_is_shared_by_replicas_and_never_nothing() -> None:
    crowd = Crowd(replicas=50)
    await crowd.crowd("m", 3, way=mx("orange"))
    assert len(crowd.running) == 1


async def test_a_pause_gives_back_all_that_waits_until_its_end() -> None:
    crowd = Crowd()
    await crowd.crowd("m", 4, way=mx("google"))
    await crowd.end("m0", outcome=PAUSE)
    assert set(crowd.back) == {"m1", "m2", "m3"}
    assert {(back.until_ms, back.reason) for back in crowd.back.values()} == {(crowd.now_ms + 600_000, "paced")}
    await crowd.come("later", way=mx("google"))
    assert "later" in crowd.back
    with pytest.raises(NoRoom):
        crowd.slots.check(mx("google"), Candidate("d", "critical"))
    await crowd.later(600)
    await crowd.come("after", way=mx("google"))
    assert crowd.running == ["after"]


async def test_a_trickle_goes_back_until_its_next_mail() -> None:
    crowd = Crowd()
    await crowd.come("m", way=mx("yahoo"))
    await crowd.end("m", outcome=TRICKLE)
    await crowd.later(1)
    await crowd.come("one", way=mx("yahoo"))
    await crowd.end("one", outcome=TAKEN)
    await crowd.come("two", way=mx("yahoo"))
    assert crowd.back["two"].until_ms == pytest.approx(crowd.now_ms + 60_000, abs=1000)
    await crowd.later(60)
    await crowd.come("three", way=mx("yahoo"))
    assert crowd.running == ["three"]


async def test_a_short_closure_is_waited_for() -> None:
    """A server that is restarted is back in a moment: that is no reason to trouble the router."""
    crowd = Crowd()
    for n in range(5):
        await crowd.come(f"m{n}", way=mx("apple"))
        await crowd.end(f"m{n}", outcome=NOBODY)
    await crowd.come("waits", way=mx("apple"))
    assert crowd.running == []
    assert crowd.back == {}
    await crowd.later(2)
    assert crowd.running == ["waits"]


# nobody's slowness is another's


async def test_a_provider_that_hangs_keeps_little_at_hand() -> None:
    """D34: 5,000 mails to one dead domain; what it can not take goes back at once, and soon nothing waits for it."""
    crowd = Crowd(in_hand=80)
    await crowd.crowd("dead", 60, way=mx("dead.example"))
    assert crowd.count() == {"dead": 1}
    assert len(crowd.back) == 60 - 1 - 80 // 8
    await crowd.later(61)
    assert len(crowd.back) == 59, "in a minute nothing has moved: nothing will soon"
    await crowd.come("more", way=mx("dead.example"))
    assert crowd.back["more"].until_ms == crowd.now_ms + 30_000


@pytest.mark.parametrize("way", [UPSTREAM, mx("slow.example")], ids=["smarthost", "provider"])
async def test_who_waits_for_a_slow_destination_goes_when_its_next_slot_is_free(way: Way) -> None:
    """R10, R21: each mail takes it four seconds. Given back, those that wait would be away for half a minute."""
    crowd = Crowd()
    for n in range(12):
        await crowd.come(f"m{n}", "slow", "critical", way)
    for _ in range(12):
        await crowd.later(4)
        await crowd.end(*crowd.running, outcome=TAKEN)
    assert (crowd.back, crowd.running) == ({}, [])


async def test_critical_mail_does_not_go_back_for_the_bulk_that_waits_behind_it() -> None:
    """R10: what it would cost in memory is counted by what goes before it."""
    crowd = Crowd(in_hand=80)
    for n in range(60):
        await crowd.come(f"bulk{n}", "slow", "bulk", mx("slow.example"))
    await crowd.later(2)
    for n in range(3):
        await crowd.come(f"critical{n}", "slow", "critical", mx("slow.example"))
    assert not [name for name in crowd.back if name.startswith("critical")]
    assert "critical0" in crowd.running
    await crowd.end("bulk0", outcome=TAKEN)
    assert "critical1" in crowd.running


async def test_a_destination_that_is_slow_leaves_a_smarthost_to_the_rest() -> None:
    """R21: it may hold half of what is at hand until that is known, then an eighth."""
    crowd = Crowd(4, in_hand=80)
    await crowd.crowd("slow", 60)
    assert (crowd.count(), len(crowd.back)) == ({"slow": 2}, 60 - 2 - 40)
    await crowd.later(2)
    assert len(crowd.back) >= 60 - 2 - 80 // 8
    await crowd.come("other", "other.example")
    assert "other" in crowd.running


async def test_a_quick_one_may_keep_as_much_as_comes() -> None:
    crowd = Crowd(2, in_hand=80)
    await crowd.crowd("m", 40)
    for n in range(40):
        crowd.now_ms += 10
        await crowd.end(f"m{n}", outcome=TAKEN)
        await crowd.come(f"more{n}")
    await crowd.later(0)
    assert crowd.back == {}


async def test_tarpits_leave_half_of_the_slots_and_most_of_the_memory_to_the_rest() -> None:
    """D51: 500 of them, and nobody knows that they are."""
    crowd = Crowd(slots=100, in_hand=80)
    for n in range(500):
        await crowd.come(f"tar{n}", way=mx(f"t{n}.example"))
    assert crowd.count() == {"tar": 40}
    assert 500 - 40 - len(crowd.back) <= 80 // 4
    await crowd.crowd("good", 30, "g")
    assert crowd.count()["good"] == 10, "half of the smarthost's, for one destination"
    await crowd.come("critical", "new.example", "critical", mx("new.example"))
    assert "critical" in crowd.running


async def test_one_group_gets_half_of_the_process_unless_it_is_alone() -> None:
    crowd = Crowd(20, slots=10)
    for n in range(12):
        await crowd.come(f"m{n}", f"d{n}")
    assert len(crowd.running) == 9, "alone; one is critical mail's"
    await crowd.come("other", way=mx("apple"))
    for n in range(5):
        await crowd.end(f"m{n}", outcome=TAKEN)
    assert "other" in crowd.running
    assert crowd.count()["m"] <= 5


async def test_critical_mail_has_a_slot_where_everything_is_taken() -> None:
    crowd = Crowd(20, slots=10)
    await crowd.crowd("m", 30)
    for n in range(30):
        await crowd.come(f"n{n}", f"d{n}")
    taken = len(crowd.running)
    await crowd.come("critical", "c", "critical", mx("c.example"))
    assert crowd.running[taken:] == ["critical"]


# one recipient, one From domain


@pytest.mark.parametrize(
    ("said", "held", "free"),
    [
        (BUSY, Candidate("d", "normal", "ada@d", "other.example"), Candidate("d", "normal", "bob@d", "shop.example")),
        (DOMAIN, Candidate("d", "critical", "bob@d", "shop.example"), Candidate("d", "normal", "ada@d", "b.example")),
    ],
    ids=["recipient", "From domain"],
)
async def test_who_is_blamed_alone_waits_alone(said: Outcome, held: Candidate, free: Candidate) -> None:
    """R21: for ten minutes; the provider's other mail goes on, at the same pace."""
    crowd = Crowd()
    google = mx("google")
    async with crowd.slots.slot(google, Candidate("d", "normal", "ada@d", "shop.example"), within=1) as slot:
        slot.tell(Carried(said))
    crowd.slots.check(google, free)
    with pytest.raises(NoRoom) as back:
        crowd.slots.check(google, held)
    assert (back.value.until_ms, back.value.reason) == (crowd.now_ms + 600_000, "paced")
    assert crowd.slots.shape(google).connections == 2
    crowd.slots.check(mx("yahoo"), held)
    await crowd.later(600)
    crowd.slots.check(google, held)


async def test_a_busy_recipient_gets_critical_mail_all_the_same() -> None:
    """A code that comes ten minutes late is of no use to anybody."""
    crowd = Crowd()
    async with crowd.slots.slot(UPSTREAM, Candidate("d", "normal", "ada@d"), within=1) as slot:
        slot.tell(Carried(BUSY))
    crowd.slots.check(UPSTREAM, Candidate("d", "critical", "ada@d"))


async def test_a_retry_to_a_busy_recipient_goes_by_its_ladder_R22() -> None:
    crowd = Crowd()
    async with crowd.slots.slot(UPSTREAM, Candidate("d", "normal", "ada@d"), within=1) as slot:
        slot.tell(Carried(BUSY))
    crowd.slots.check(UPSTREAM, Candidate("d", "normal", "ada@d", is_retry=True))


# policies


async def test_a_policy_takes_effect_on_what_waits() -> None:
    said = Said({"upstream": Override(connections=2)})
    crowd = Crowd(said=said)
    for n in range(10):
        await crowd.come(f"m{n}", f"d{n}")
    assert len(crowd.running) == 1
    said.groups["upstream"] = Override(connections=6)
    crowd.slots.reshape()
    await settle()
    assert len(crowd.running) == 1, "it may grow now, and does so with what is taken"
    for n in range(10):
        await crowd.end(f"m{n}", outcome=TAKEN)
        await crowd.come(f"more{n}", f"d{n}")
    assert len(crowd.running) == 2
    said.groups["upstream"] = Override(per_second=1 / 600)
    crowd.slots.reshape()
    with pytest.raises(NoRoom):
        crowd.slots.check(UPSTREAM, Candidate("d", "normal"))


async def test_a_policy_of_one_domain_leaves_the_rest_of_its_provider_alone() -> None:
    said = Said(destinations={"small": Override(connections=1)})
    crowd = Crowd(said=said)
    await crowd.crowd("small", 3, "small")
    await crowd.crowd("big", 3, "big")
    assert crowd.count() == {"small": 1, "big": 3}


def test_what_slows_these_tests_down_is_what_they_say() -> None:
    assert signal_of(PAUSE).pace == Pace("source", 600, phrases=())
    trickle = signal_of(TRICKLE).pace
    assert trickle is not None
    assert trickle.act == "trickle"
