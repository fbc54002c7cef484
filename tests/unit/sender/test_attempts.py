"""The honest attempt over ports in memory, with a death after every single call (R11, R23; D6, D25, D29, D40)."""

import asyncio
from typing import Any

import pytest

from schemas.deliveries import AttemptRecorded, AttemptStarted, Delivery
from schemas.inputs import AttemptFinished, AttemptPostponed, AttemptRefused, AttemptUnknown
from schemas.tables import Suppression
from services.sender.domain.outcome import Outcome, deferred_by_us
from services.sender.ports import PathDown, Tenure
from tests.kit.sender_ports import DELIVERED, TIMING, Died, Process, World
from tests.unit.sender.test_mime import delivery as mime_delivery

SUPPRESSION = Suppression(
    id="sup_1",
    project_id="prj_06GC8M3CFE0000000000000001",
    scope="*",
    recipient="ada@example.org",
    reason="manual",
    origin="api",
    source_event_id=None,
    created_at="2026-11-24T00:00:00.000Z",
)
OUTCOMES = [
    DELIVERED,
    Outcome("temporary", "transient", "rcpt", "450 4.2.1 Busy", 450, "4.2.1"),
    Outcome("permanent", "invalid_recipient", "rcpt", "550 5.1.1 No", 550, "5.1.1"),
    Outcome("unknown", "unknown", "reply"),
]


def delivery(**fields: Any) -> Delivery:
    return mime_delivery(text="Hi").model_copy(update={"valid_until_ms": 1_790_000_060_000, **fields})


def kinds(world: World) -> list[str]:
    return [report.TYPE.removeprefix("input.attempt_") for report in world.inputs]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.outcome)
async def test_five_steps_in_order(outcome: Outcome) -> None:
    world = World(outcome=outcome)
    process = Process(world, "a")
    assert await process.carry_out(delivery())
    assert process.calls == ["history", "slot", "claim", "rcpt", "data", "dot", "record", "report"]
    started, recorded = world.journal
    assert isinstance(started, AttemptStarted)
    assert isinstance(recorded, AttemptRecorded)
    assert started.deadline_ms == started.started_at_ms + TIMING.deadline_ms
    assert (recorded.outcome, recorded.category) == (outcome.outcome, outcome.category)
    (told,) = world.inputs
    assert (told.attempt, told.dispatch) == (1, 1)
    if isinstance(told, AttemptUnknown):
        assert outcome.outcome == "unknown"
        assert told.content == delivery().content
    else:
        assert isinstance(told, AttemptFinished)
        assert (told.outcome, told.category) == (outcome.outcome, outcome.category)
        assert (told.content is not None) == (outcome.outcome == "temporary")
        assert (told.detail.reply, told.detail.mx_host) == (outcome.reply, "mx.example.org")


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.outcome)
async def test_a_death_after_any_call_loses_nothing_and_sends_at_most_once(outcome: Outcome) -> None:
    """The crash loop: die after call 1, 2, 3 … until it is not reached; the next owner finishes."""
    dies_after, reached = 1, True
    while reached:
        world = World(outcome=outcome)
        first = Process(world, "a", dies_after=dies_after)
        try:
            await first.carry_out(delivery())
            reached = False
        except Died:
            assert await Process(world, "b").carry_out(delivery())
        assert len(world.mails) <= 1
        assert world.inputs
        last = world.inputs[-1]
        if "claim" in first.calls and "record" not in first.calls:
            assert kinds(world)[-1] == "unknown", first.calls
        elif outcome.outcome == "unknown":
            assert isinstance(last, AttemptUnknown)
        else:
            assert isinstance(last, AttemptFinished)
            assert (last.outcome, len(world.mails)) == (outcome.outcome, 1)
        assert len({(r.TYPE, r.dispatch) for r in world.inputs}) == 1, "a repetition says the same"
        dies_after += 1
    assert dies_after == 10  # eight calls, then one round without a death


async def test_two_deaths_in_a_row_while_giving_up() -> None:
    """Whoever gives another's attempt up may die at it, too: at call 1, 2, 3 … until it is not reached."""
    dies_after, reached = 1, True
    while reached:
        world = World()
        with pytest.raises(Died):
            await Process(world, "a", dies_after=6).carry_out(delivery())
        try:
            await Process(world, "b", dies_after=dies_after).carry_out(delivery())
            reached = False
        except Died:
            assert await Process(world, "c").carry_out(delivery())
        assert len(world.mails) == 1
        assert set(kinds(world)) == {"unknown"}
        dies_after += 1
    assert dies_after == 8  # history, the wait, history, record, history, report; then a round without a death


def _stale(world: World, process: Process) -> None:
    process.is_fresh = False
    world.at["sleep"] = lambda: setattr(process, "is_fresh", True)


def _no_lease_at_first(world: World, process: Process) -> None:
    process.lease = False
    world.at["sleep"] = lambda: setattr(process, "lease", True)


def _lease_lost(world: World, process: Process) -> None:
    world.at["rcpt"] = lambda: setattr(process, "lease", False)


def _suppressed_on_the_way(world: World, process: Process) -> None:
    world.at["rcpt"] = lambda: setattr(world, "suppression", SUPPRESSION)


def _suppressed_before(world: World, process: Process) -> None:
    world.suppression = SUPPRESSION


def _too_late(world: World, process: Process) -> None:
    world.at["data"] = lambda: setattr(world, "now_ms", world.now_ms + 60_001)


def _no_room(world: World, process: Process) -> None:
    process.room = False


def _log_away(world: World, process: Process) -> None:
    world.fail.update({"claim": 1, "claim!": 1, "record": 2, "report": 2})


ROADS = [
    _stale,
    _no_lease_at_first,
    _lease_lost,
    _suppressed_on_the_way,
    _suppressed_before,
    _too_late,
    _no_room,
    _log_away,
]


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__.lstrip("_"))
async def test_a_death_after_any_call_of_every_other_road(road: Any) -> None:
    """D6: where the attempt takes another road than the straight one, the crash loop goes along it, too."""
    dies_after, reached = 1, True
    while reached:
        world = World()
        first = Process(world, "a", dies_after=dies_after)
        road(world, first)
        try:
            assert await first.carry_out(delivery())
            reached = False
        except Died:
            world.at.clear()
            assert await Process(world, "b").carry_out(delivery())
        said = set(kinds(world))
        assert said, "silent"
        assert len(world.mails) <= 1
        if "finished" in said:
            assert (len(world.mails), len(said)) == (1, 1), first.calls
        elif "unknown" not in said:
            assert (world.mails, len(said)) == ([], 1), first.calls
        dies_after += 1
    assert dies_after == len(first.calls) + 2, "each call has been the last one, and one round had no death"


async def test_another_owners_claim_is_waited_for_until_its_deadline_and_margin() -> None:
    world = World()
    with pytest.raises(Died):
        await Process(world, "a", dies_after=3).carry_out(delivery())
    began = world.now_ms
    assert await Process(world, "b").carry_out(delivery())
    assert world.now_ms - began >= TIMING.deadline_ms + TIMING.margin_ms
    assert (world.mails, kinds(world)) == ([], ["unknown"])


async def test_an_outcome_that_comes_while_we_wait_is_repeated() -> None:
    """The old owner was only slow: its word counts."""
    world = World()
    with pytest.raises(Died):
        await Process(world, "a", dies_after=6).carry_out(delivery())
    other = World()
    await Process(other, "a").carry_out(delivery())
    world.at["sleep"] = lambda: world.journal.append(other.journal[1])
    assert await Process(world, "b").carry_out(delivery())
    assert kinds(world) == ["finished"]
    assert world.inputs == other.inputs, "word for word"


async def test_an_outcome_that_lands_before_our_giving_up_wins() -> None:
    world, other = World(), World()
    with pytest.raises(Died):
        await Process(world, "a", dies_after=6).carry_out(delivery())
    await Process(other, "a").carry_out(delivery())
    world.at["before record"] = lambda: world.journal.append(other.journal[1])
    heir = Process(world, "b")
    assert await heir.carry_out(delivery())
    assert kinds(world) == ["finished"]
    assert heir.read_back, "whether it came first is only known from the log"


async def test_a_delivery_that_is_at_hand_twice_is_sent_once() -> None:
    """The router said it again after a crash, and both came together. Found by the simulation."""
    world = World()
    process = Process(world, "a")
    assert all(await asyncio.gather(process.carry_out(delivery()), process.carry_out(delivery())))
    assert (len(world.mails), kinds(world)) == (1, ["finished", "finished"])


async def test_who_loses_the_claim_sends_nothing() -> None:
    world = World()
    rival = AttemptStarted(
        message_id=delivery().message_id,
        attempt=1,
        dispatch=1,
        owner="rival",
        started_at_ms=world.now_ms,
        deadline_ms=world.now_ms + 1000,
        valid_until_ms=world.now_ms + 8000,
    )
    world.at["before claim"] = lambda: world.journal.append(rival)
    assert await Process(world, "a").carry_out(delivery())
    assert (world.mails, kinds(world)) == ([], ["unknown"])


@pytest.mark.parametrize("landed", [True, False])
async def test_an_unconfirmed_claim_is_asked_for_again(landed: bool) -> None:
    world = World()
    world.fail["claim!" if landed else "claim"] = 2
    process = Process(world, "a")
    assert await process.carry_out(delivery())
    assert (len(world.mails), kinds(world)) == (1, ["finished"])
    claims = [entry for entry in world.journal if isinstance(entry, AttemptStarted)]
    assert len(claims) == (3 if landed else 1)


async def test_an_unconfirmed_claim_without_a_lease_is_given_back() -> None:
    """It may be in the log, and nobody may wait for a deadline because of it."""
    world = World()
    world.fail["claim!"] = 1
    process = Process(world, "a")
    world.at["sleep"] = lambda: setattr(process, "lease", False)
    assert await process.carry_out(delivery())
    assert (world.mails, kinds(world)) == ([], ["postponed"])
    assert await Process(world, "b").carry_out(delivery(dispatch=2))
    assert (len(world.mails), kinds(world)) == (1, ["postponed", "finished"])


@pytest.mark.parametrize("what", ["record", "report"])
async def test_what_became_of_a_begun_attempt_is_reported_however_long_it_takes(what: str) -> None:
    """Also after a revoke: the lease gates claims, never the truth."""
    world, tenure = World(), Tenure("deliveries", 0)
    world.fail[what] = 20
    process = Process(world, "a")

    def lose_partition() -> None:
        tenure.over = True
        process.lease = False

    world.at["dot"] = lose_partition
    assert await process.carry_out(delivery(), tenure)
    assert (len(world.mails), kinds(world)) == (1, ["finished"])


@pytest.mark.parametrize(
    ("point", "change", "expected"),
    [
        ("rcpt", {"lease": False}, "postponed"),
        ("rcpt", {"is_fresh": False}, "postponed"),
        ("rcpt", {"suppression": SUPPRESSION}, "refused"),
        ("rcpt", {"now_ms": 1_790_000_060_001}, "postponed"),
        ("data", {"now_ms": 1_790_000_060_001}, "postponed"),
    ],
)
async def test_the_last_look_before_the_point_of_no_return(point: str, change: dict[str, Any], expected: str) -> None:
    """R11, D29: nothing is sent, the attempt is open for a higher dispatch, and no attempt is used."""
    world = World()
    process = Process(world, "a")

    def happen() -> None:
        for name, value in change.items():
            setattr(world if hasattr(world, name) else process, name, value)

    world.at[point] = happen
    assert await process.carry_out(delivery())
    assert (world.mails, kinds(world)) == ([], [expected])
    recorded = world.journal[-1]
    assert isinstance(recorded, AttemptRecorded)
    assert recorded.outcome == "not_sent"
    # the same dispatch again says the same again, and sends nothing
    assert await Process(world, "b").carry_out(delivery())
    assert (world.mails, kinds(world)) == ([], [expected] * 2)
    # a higher one may
    world.suppression = None
    assert await Process(world, "b").carry_out(delivery(dispatch=2))
    assert (len(world.mails), kinds(world)[-1]) == (1, "finished")


@pytest.mark.parametrize(("after_ms", "calls"), [(0, 0), (1_000, 1)])
async def test_nothing_is_sent_after_its_time(after_ms: int, calls: int) -> None:
    """R2: at once where that is known, else at the last look before DATA; the journal says that nothing was sent."""
    world = World()
    late = delivery(deliver_before_ms=world.now_ms + after_ms)

    def happen() -> None:
        world.now_ms += after_ms

    world.at["rcpt"] = happen
    process = Process(world, "a")
    assert await process.carry_out(late)
    assert (world.mails, kinds(world), process.calls.count("rcpt")) == ([], ["refused"], calls)
    refused = world.inputs[-1]
    assert isinstance(refused, AttemptRefused)
    assert (refused.cause, refused.suppression_id) == ("expired", None)
    recorded = world.journal[-1]
    assert isinstance(recorded, AttemptRecorded)
    assert recorded.outcome == "not_sent"


async def test_a_dispatch_that_was_given_back_while_we_claimed_it_is_not_sent() -> None:
    world = World()
    given_back = AttemptRecorded(
        message_id=delivery().message_id, attempt=1, dispatch=1, owner="b", outcome="not_sent", category=None,
        detail=None,
    )  # fmt: skip
    world.at["before claim"] = lambda: world.journal.append(given_back)
    assert await Process(world, "a").carry_out(delivery())
    assert (world.mails, kinds(world)) == ([], ["postponed"])


async def test_a_known_suppression_costs_no_smtp_and_no_claim() -> None:
    """R11."""
    world = World(suppression=SUPPRESSION)
    process = Process(world, "a")
    assert await process.carry_out(delivery())
    assert process.calls == ["history", "record", "history", "report"]
    (told,) = world.inputs
    assert isinstance(told, AttemptRefused)
    assert (told.suppression_id, told.suppression_reason) == ("sup_1", "manual")


async def test_nothing_starts_on_a_stale_list() -> None:
    world = World()
    process = Process(world, "a", is_fresh=False)
    world.at["sleep"] = lambda: setattr(process, "is_fresh", True)
    assert await process.carry_out(delivery())
    assert process.calls.index("sleep") < process.calls.index("slot")


@pytest.mark.parametrize(("listed", "waits"), [(None, False), (SUPPRESSION, True)])
async def test_a_list_of_a_moment_ago_lets_a_mail_begin_and_refuses_none(
    listed: Suppression | None, waits: bool
) -> None:
    """R11: what is taken off the list is not refused by it any more."""
    world = World(suppression=listed)
    process = Process(world, "a", is_fresh=False, was_fresh=True)

    def proven() -> None:
        process.is_fresh, world.suppression = True, None

    world.at["sleep"] = proven
    world.at["slot"] = proven
    assert await process.carry_out(delivery())
    assert ("sleep" in process.calls[: process.calls.index("slot")]) is waits
    assert (len(world.mails), kinds(world)) == (1, ["finished"])


async def test_no_claim_without_a_lease() -> None:
    world = World()
    process = Process(world, "a", lease=False)
    world.at["sleep"] = lambda: setattr(process, "lease", True)
    assert await process.carry_out(delivery())
    assert process.calls.index("sleep") < process.calls.index("claim")


async def test_what_finds_no_room_goes_back() -> None:
    world = World()
    assert await Process(world, "a", room=False).carry_out(delivery())
    (told,) = world.inputs
    assert isinstance(told, AttemptPostponed)
    assert told.until_ms > world.now_ms
    assert told.content == delivery().content
    (given_back,) = world.journal
    assert isinstance(given_back, AttemptRecorded)
    assert given_back.outcome == "not_sent"


@pytest.mark.parametrize("road", [_no_room, _suppressed_before], ids=lambda road: road.__name__.lstrip("_"))
async def test_what_went_back_without_a_claim_is_sent_by_nobody_who_has_it_too(road: Any) -> None:
    """R7: the router takes it for waiting, or for suppressed; a cancel may be granted by now."""
    world = World()
    first = Process(world, "a")
    road(world, first)
    assert await first.carry_out(delivery())
    world.suppression = None  # taken off the list again
    assert await Process(world, "b").carry_out(delivery())
    assert (world.mails, kinds(world)[1:]) == ([], ["postponed"])
    assert await Process(world, "b").carry_out(delivery(dispatch=2))
    assert (len(world.mails), kinds(world)[-1]) == (1, "finished")


@pytest.mark.parametrize("road", [_no_room, _suppressed_before], ids=lambda road: road.__name__.lstrip("_"))
async def test_who_would_go_back_while_another_has_begun_says_what_became_of_that(road: Any) -> None:
    """R23: of the two, the one that began is the truth; nobody is told that the mail waits."""
    world, other = World(), World()
    await Process(other, "b").carry_out(delivery())
    first = Process(world, "a")
    road(world, first)
    world.at["before record"] = lambda: world.journal.append(other.journal[0])
    world.at["sleep"] = lambda: world.journal.append(other.journal[1])
    assert await first.carry_out(delivery())
    assert kinds(world) == ["finished"]


async def test_a_delivery_that_landed_too_late_is_void() -> None:
    world = World()
    assert await Process(world, "a").carry_out(delivery(), landed_ms=1_790_000_060_001)
    assert (world.journal, world.inputs, world.mails) == ([], [], [])


async def test_a_lost_partition_is_left_to_its_next_owner() -> None:
    world, tenure = World(), Tenure("deliveries", 0, over=True)
    assert not await Process(world, "a").carry_out(delivery(), tenure)
    assert (world.journal, world.inputs, world.mails) == ([], [], [])


async def test_a_mail_that_can_not_be_written_bounces_and_says_so() -> None:
    """Nothing accepted ever goes silent."""
    world = World()
    bad = delivery()
    bad = bad.model_copy(update={"content": bad.content.model_copy(update={"headers": {"From": "x"}})})
    assert await Process(world, "a").carry_out(bad)
    (told,) = world.inputs
    assert isinstance(told, AttemptFinished)
    assert (told.outcome, told.category, told.detail.enhanced_code) == ("permanent", "rejected", "5.6.0")
    assert world.mails == []


async def test_content_that_can_not_be_had_ends_the_attempt_under_its_claim() -> None:
    """R5: another sender of the same delivery, whose storage answers, must not send what this one calls deferred."""
    world = World(no_content=deferred_by_us(451, "4.3.0", "its content could not be read from storage"))
    assert await Process(world, "a").carry_out(delivery())
    world.no_content = None
    assert await Process(world, "b").carry_out(delivery())
    first, again = world.inputs
    assert isinstance(first, AttemptFinished)
    assert (first.outcome, first.category, first.detail.code, first.detail.phase) == (
        "temporary",
        "transient",
        451,
        "mail",
    )
    assert again == first
    assert (len(world.journal), world.mails) == (2, [])
    assert await Process(world, "b").carry_out(delivery(attempt=2))
    assert len(world.mails) == 1


async def test_a_known_outcome_is_told_under_the_dispatch_that_asks() -> None:
    """The router's watchdog handed the attempt out again: it is not sent again."""
    world = World()
    assert await Process(world, "a").carry_out(delivery())
    assert await Process(world, "b").carry_out(delivery(dispatch=2))
    assert [report.dispatch for report in world.inputs] == [1, 2]
    assert (len(world.mails), kinds(world)) == (1, ["finished", "finished"])


async def test_a_path_that_this_sender_does_not_have_costs_no_attempt() -> None:
    """R20: it goes back to the router, which chooses again; nobody may send this dispatch any more."""
    world = World(way=PathDown("unknown"))
    assert await Process(world, "a").carry_out(delivery(path="ups_1"))
    (told,) = world.inputs
    assert isinstance(told, AttemptPostponed)
    assert told.reason == "path_down"
    assert [entry.outcome for entry in world.journal if isinstance(entry, AttemptRecorded)] == ["not_sent"]
    assert world.mails == []


async def test_dns_may_have_the_last_word() -> None:
    """R20, D52: it ends without SMTP, under its claim."""
    nowhere = Outcome("permanent", "domain_not_found", "connect", "556 5.1.10 no mail here", 556, "5.1.10")
    world = World(way=nowhere)
    process = Process(world, "a")
    assert await process.carry_out(delivery(path="mx:main"))
    assert process.calls == ["history", "claim", "record", "report"]
    (told,) = world.inputs
    assert isinstance(told, AttemptFinished)
    assert (told.category, told.detail.path) == ("domain_not_found", "mx:main")


async def test_mail_of_a_test_key_goes_to_the_sandbox_whatever_its_path_says() -> None:
    world = World(way=PathDown("never asked"))
    assert await Process(world, "a").carry_out(delivery(path="mx:main", environment="test"))
    assert (len(world.sandboxed), world.mails) == (1, [])
    (told,) = world.inputs
    assert isinstance(told, AttemptFinished)
    assert told.detail.path == "sandbox"
