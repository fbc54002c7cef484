"""A partition on a log in memory: order of writing, replays, timers, turns, lists, poison (R10, R11, R22 to R24)."""

import shutil
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from chassis.failures import Poison, Retry
from chassis.log import Outgoing
from schemas.envelope import to_timestamp
from schemas.states import FENCE_KEY, POSITION_KEY
from schemas.topics import TOPICS
from services.router.domain.ladder import Ladder
from tests.kit import router_inputs as make
from tests.kit.router_log import Killed, RouterOnLog

NOW = make.START_MS
DAY = 86_400_000
EVENTS = TOPICS["message-events"].name


@pytest.fixture
def router(tmp_path: Path) -> RouterOnLog:
    return RouterOnLog(tmp_path)


async def test_a_submission_is_accepted_and_goes_straight_out(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted"]
    (delivery,) = router.live_deliveries()
    assert delivery["content"]["text"] == "847291\n"
    assert (delivery["attempt"], delivery["dispatch"]) == (1, 1)
    assert router.state(one)["content"] is None  # thin: the log has it
    assert dict(router.log.topics[EVENTS][0].headers)["traceparent"] == b"00-a-b-01"


async def test_a_duplicate_submit_changes_nothing(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one), make.submit(one))
    await router.settle()
    router.give(make.submit(one), make.delivered(one), make.submit(one))
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted", "delivered"]
    assert len(router.sent()) == 1


async def test_deferred_mail_goes_out_again_at_its_time_with_its_content(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.temporary(one))
    await router.settle()
    await router.settle_at(NOW + 29_900)
    assert router.sent() == [(one, 1, 1)]
    await router.settle_at(NOW + 30_000)
    assert router.sent() == [(one, 1, 1), (one, 2, 1)]
    assert router.live_deliveries()[1]["content"]["text"] == "847291\n"
    router.give(make.delivered(one, 2))
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted", "deferred", "delivered"]
    assert router.state(one)["content"] is None


async def test_the_whole_ladder_with_a_restart_between_all(router: RouterOnLog) -> None:  # R22, D31
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    started = [router.log.now_ms]
    for attempt, gap in enumerate((30, 300, 1800, 7200, 18000), 1):
        router.give(make.temporary(one, attempt))
        await router.settle()
        router.kill()
        router.start()
        due = started[-1] + gap * 1000
        await router.settle_at(due - 200)
        assert len(router.sent()) == attempt
        await router.settle_at(due)
        assert router.sent()[-1] == (one, attempt + 1, 1)
        started.append(due)
    router.give(make.temporary(one, 6))
    await router.settle()
    await router.settle_at(started[-1] + 10 * DAY)
    assert len(router.sent()) == 6
    assert router.statuses(one) == ["queued", "accepted", *["deferred"] * 5, "bounced"]


async def test_a_projects_own_ladder_counts_and_a_change_holds_for_what_waits(router: RouterOnLog) -> None:  # R14, R22
    longer, shorter = make.message_id(), make.message_id()
    router.ladders.own[make.PROJECT] = Ladder((1_000, 2_000))
    router.give(make.submit(longer), make.submit(shorter, recipient="bob@example.org"))
    await router.settle()
    router.give(make.temporary(longer), make.temporary(shorter))
    await router.settle()
    await router.settle_at(NOW + 1_000)
    assert [one[:2] for one in router.sent()[2:]] == [(longer, 2), (shorter, 2)]
    router.ladders.own[make.PROJECT] = Ladder((1_000,))
    router.give(make.temporary(shorter, 2))
    await router.settle()
    router.ladders.own.clear()  # null: the service's own again
    router.give(make.temporary(longer, 2))
    await router.settle()
    assert router.statuses(shorter) == ["queued", "accepted", "deferred", "bounced"]
    assert router.statuses(longer) == ["queued", "accepted", "deferred", "deferred"]
    assert router.state(longer)["due_at_ms"] == NOW + 1_000 + 300_000


async def test_what_is_scheduled_is_counted_apart_and_after_a_restart(router: RouterOnLog) -> None:
    one, two = make.message_id(), make.message_id()
    router.give(*(make.submit(of, scheduled_ms=NOW + DAY) for of in (one, two)))
    await router.settle()
    assert _gauge("router_scheduled_messages") == 2
    router.kill()
    router.start()
    await router.settle_at(NOW + 2_000)
    assert (_gauge("router_scheduled_messages"), _gauge("router_waiting_messages")) == (2, 0)
    router.give(make.cancel(one))
    await router.settle_at(NOW + 4_000)
    assert _gauge("router_scheduled_messages") == 1
    await router.settle_at(NOW + DAY)
    await router.settle_at(NOW + DAY + 2_000)
    assert (_gauge("router_scheduled_messages"), _gauge("router_in_flight_messages")) == (0, 1)


def _gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"lane": "standard", "partition": "0"})


@pytest.mark.parametrize("step", ["decided", "state", "half", "outputs"])
async def test_killed_at_any_step_of_a_batch_the_outbox_comes_again_byte_for_byte(
    router: RouterOnLog, step: Any
) -> None:  # D25, D30
    first, second = make.message_id(), make.message_id()
    router.give(make.submit(first))
    await router.settle()
    router.give(make.submit(second), make.permanent(first, category="invalid_recipient"))
    with pytest.raises(Killed):
        await router.batch(killed_after=step)
    router.kill()
    router.log.now_ms += 60_000  # the clock and the tables have moved on
    router.listing.add("ada@example.org")
    router.start()
    await router.settle()
    again = router.statuses(second)
    assert again == (["queued", "suppressed"] if step == "decided" else ["queued", "accepted"])
    assert router.statuses(first) == ["queued", "accepted", "bounced"]
    assert step == "decided" or (second, 1, 1) in router.sent()
    entries = {record.value for record in router.log.topics[TOPICS["suppressions"].name]}
    assert len(entries) == 1
    assert len({record.value for record in router.log.topics[TOPICS["account-events"].name]}) == 1


async def test_a_replayed_delivery_differs_in_its_lease_alone(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    with pytest.raises(Killed):
        await router.batch(killed_after="outputs")
    router.kill()
    router.log.now_ms += 60_000
    router.start()
    await router.settle()
    first, again = router.log.values(router.deliveries)
    assert first.pop("data") | {"valid_until_ms": 0} == again.pop("data") | {"valid_until_ms": 0}
    assert first == again
    assert router.log.topics[router.deliveries][1].timestamp_ms <= NOW + 60_000 + 8_000  # live again


async def test_several_inputs_of_one_batch_are_one_state_record_and_every_event(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.unknown(one, 1), make.temporary(one, 1), make.delivered(one, 1))
    before = len(router.log.topics[router.changelog_topic])
    with pytest.raises(Killed):
        await router.batch(killed_after="state")
    assert len(router.log.topics[router.changelog_topic]) == before + 1
    router.kill()
    router.start()
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted", "unknown", "deferred"]


async def test_the_outbox_holds_no_more_than_its_batch(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.delivered(one))
    await router.settle()
    assert [entry["input_offset"] for entry in router.state(one)["outbox"]] == [1]


async def test_killed_twice_what_the_first_batch_decided_still_comes_out(router: RouterOnLog) -> None:  # D25
    one = make.message_id()
    router.give(make.submit(one))
    with pytest.raises(Killed):
        await router.batch(killed_after="state")
    router.kill()
    router.start()
    router.give(make.delivered(one))
    with pytest.raises(Killed):
        await router.batch(killed_after="state")  # the replayed Submit and the outcome, together
    router.kill()
    router.start()
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted", "delivered"]


async def test_whoever_was_called_is_not_called_again_before_that_is_decided(tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path, window=2)
    ids = [make.message_id() for _ in range(4)]
    router.give(*(make.submit(one) for one in ids))
    await router.settle()
    router.give(make.temporary(ids[0]), make.delivered(ids[1]))
    await router.batch()
    router.log.now_ms += 30_000
    before = len(router.log.topics[router.inputs])
    for _ in range(5):
        await router.tick()
    called = [record.key for record in router.log.topics[router.inputs][before:]]
    assert sorted(called) == sorted([ids[0], ids[2], ids[3]])


async def test_a_timer_that_was_not_believed_comes_again(router: RouterOnLog) -> None:  # D24
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.temporary(one))
    await router.settle()
    router.log.now_ms += 20_000
    router.skew_ms = 15_000
    await router.tick()
    await router.batch()
    assert len(router.sent()) == 1
    router.skew_ms = 0
    await router.settle_at(NOW + 30_000)
    assert len(router.sent()) == 2


async def test_a_hand_out_that_its_own_batch_has_overtaken_is_not_sent(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.unknown(one))
    await router.settle()
    router.log.now_ms += 30_000
    await router.tick()  # appends the Due
    router.give(make.delivered(one, 1))  # the late truth, in the same batch
    await router.settle()
    assert router.sent() == [(one, 1, 1)]
    assert router.statuses(one) == ["queued", "accepted", "unknown", "delivered"]


async def test_stale_suppressions_put_the_batch_off(router: RouterOnLog) -> None:  # R11
    one = make.message_id()
    router.give(make.submit(one))
    router.listing.is_fresh = False
    with pytest.raises(Retry):
        await router.batch()
    assert router.log.topics[router.changelog_topic][1:] == []
    router.listing.is_fresh = True
    await router.settle()
    router.listing.is_fresh = False
    router.give(make.delivered(one))
    await router.batch()  # an outcome starts nothing
    assert router.statuses(one)[-1] == "delivered"


async def test_a_recipient_listed_while_mail_waits_ends_it_at_once(router: RouterOnLog) -> None:  # R11
    waiting, flying = make.message_id(), make.message_id()
    router.give(make.submit(waiting), make.submit(flying))
    await router.settle()
    router.give(make.temporary(waiting))
    await router.settle()
    router.listing.add("ada@example.org", "unsubscribed")
    await router.settle()
    assert router.statuses(waiting)[-1] == "suppressed"
    assert router.events(waiting)[-1]["data"]["reason"] == "unsubscribed"
    assert router.statuses(flying) == ["queued", "accepted"]  # its sender looks right before DATA
    router.give(make.refused(flying))
    await router.settle()
    assert router.statuses(flying)[-1] == "suppressed"


async def test_a_recipient_listed_while_no_router_ran_gets_nothing_at_the_take_over(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.temporary(one))
    await router.settle()
    router.kill()
    router.listing.add("ada@example.org")
    router.start()
    await router.settle()
    assert router.statuses(one)[-1] == "suppressed"


async def test_a_hard_bounce_lists_the_recipient_with_its_cause(router: RouterOnLog) -> None:  # R11
    one, two = make.message_id(), make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.permanent(one, category="invalid_recipient"), make.submit(two))
    await router.settle()
    bounced = router.events(one)[-1]
    (entry,) = router.log.values(TOPICS["suppressions"].name)
    assert entry["data"]["recipient"] == "ada@example.org"
    assert (entry["data"]["reason"], entry["data"]["origin"]) == ("hard_bounce", "bounce")
    assert entry["data"]["source_event_id"] == bounced["id"]
    (record,) = router.log.topics[TOPICS["suppressions"].name]
    assert record.key == "prj_1:*:ada@example.org:bounce"
    (told,) = router.log.topics[TOPICS["account-events"].name]
    assert told.key == make.PROJECT
    three = make.message_id()
    router.give(make.submit(three))
    await router.settle()
    assert router.statuses(three) == ["queued", "suppressed"]


async def test_beyond_the_window_mail_waits_and_goes_out_in_order_as_places_free_up(tmp_path: Path) -> None:  # R10
    router = RouterOnLog(tmp_path, window=4)
    ids = [make.message_id() for _ in range(8)]
    router.give(*(make.submit(one) for one in ids))
    await router.settle()
    assert [of for of, _, _ in router.sent()] == ids[:4]
    assert router.events(ids[5])[-1]["data"]["reason"] == "admission"
    for done in ids[:4]:
        router.give(make.delivered(done))
        await router.settle()
    assert [of for of, _, _ in router.sent()] == ids
    assert router.live_deliveries()[7]["content"]["text"] == "847291\n"


async def test_a_newcomer_never_passes_who_waits_for_the_same_destination(tmp_path: Path) -> None:  # R10
    router = RouterOnLog(tmp_path, window=4)
    ids = [make.message_id() for _ in range(6)]
    router.give(*(make.submit(one) for one in ids[:5]))
    await router.settle()
    other = make.message_id()
    router.give(make.delivered(ids[0]), make.submit(ids[5]), make.submit(other, destination="other.org"))
    await router.settle()
    assert [of for of, _, _ in router.sent()] == [*ids[:4], other, ids[4]]


async def test_critical_overtakes_high_and_keeps_a_quarter(tmp_path: Path) -> None:  # R10
    router = RouterOnLog(tmp_path, lane="express", window=8)
    high = [make.message_id("express") for _ in range(8)]
    router.give(*(make.submit(one, priority="high") for one in high))
    await router.settle()
    assert len(router.sent()) == 6
    critical = [make.message_id("express") for _ in range(3)]
    router.give(*(make.submit(one, priority="critical") for one in critical))
    await router.settle()
    assert [of for of, _, _ in router.sent()[6:]] == critical[:2]
    router.give(make.delivered(high[0]), make.delivered(high[1]))
    await router.settle()
    assert [of for of, _, _ in router.sent()[8:]] == [critical[2], high[6]]


async def test_bulk_has_its_share_beside_a_flood_of_normal(tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path, window=10)
    normal = [make.message_id() for _ in range(30)]
    bulk = make.message_id()
    router.give(*(make.submit(one) for one in normal[:20]), make.submit(bulk, priority="bulk"))
    await router.settle()
    router.give(*(make.delivered(one) for one in normal[:2]))
    await router.settle()
    assert bulk in [of for of, _, _ in router.sent()]


async def test_a_postponed_destination_is_closed_until_its_time_with_half_a_window(tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path, window=16)
    ids = [make.message_id() for _ in range(20)]
    router.give(*(make.submit(one) for one in ids))
    await router.settle()
    until = NOW + 60_000
    router.give(*(make.postponed(one, until_ms=until) for one in ids[:16]))
    await router.settle()
    assert len(router.sent()) == 16
    assert router.state(ids[0])["reason"] == "postponed"
    assert [event["type"] for event in router.events(ids[0])][1:] == ["message.accepted", "message.waiting"]
    assert router.events(ids[0])[-1]["data"]["next_attempt_at"] == to_timestamp(until)
    await router.settle_at(until - 1)
    assert len(router.sent()) == 16
    await router.settle_at(until)
    again = router.sent()[16:]
    assert again == [(of, 1, 2) for of in ids[:8]]  # half the window, in the old order, no attempt used


async def test_an_attempt_without_an_outcome_is_handed_out_again_after_an_hour(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    await router.settle_at(NOW + 3_599_000)
    assert router.sent() == [(one, 1, 1)]
    await router.settle_at(NOW + 3_600_000)
    assert router.sent() == [(one, 1, 1), (one, 1, 2)]
    assert router.live_deliveries()[1]["content"]["text"] == "847291\n"  # its Submit was read again
    router.give(make.delivered(one, 1, 1))  # the first did run after all
    await router.settle()
    assert router.statuses(one)[-1] == "delivered"


async def test_poison_of_a_known_message_holds_it_with_the_dead_letter(router: RouterOnLog) -> None:  # D26
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give_poison(one)
    router.give(make.temporary(one))
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted", "held"]
    assert router.events(one)[-1]["data"]["source_event_id"] == "dlq/0/1"
    router.give(make.delivered(one))
    await router.settle()
    assert router.statuses(one)[-1] == "delivered"


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"null", b'{"type":"input.submit"}'])
async def test_a_submission_nobody_can_read_is_never_silent(router: RouterOnLog, value: bytes | None) -> None:  # D26
    one = make.message_id()
    router.give_poison(one, value)
    router.give(make.submit(one))
    await router.settle()
    (event,) = router.events(one)
    assert (event["type"], event["projectid"], event["data"]["source_event_id"]) == (
        "message.held",
        "unknown",
        "dlq/0/0",
    )
    router.kill()
    router.start()
    router.give(make.submit(one))
    await router.settle()
    assert len(router.events(one)) == 1


@pytest.mark.parametrize("key", ["", "no id", make.message_id(partition=3), make.message_id("express")])
async def test_poison_of_nobody_here_lies_in_the_dlq_alone(router: RouterOnLog, key: str) -> None:
    router.give_poison(key)
    await router.settle()
    assert router.log.topics[EVENTS] == []


async def test_an_input_of_another_partition_is_poison(router: RouterOnLog) -> None:
    router.give(make.submit(make.message_id(partition=7)))
    with pytest.raises(Poison):
        await router.batch()


async def test_what_closed_long_ago_is_forgotten_and_a_little_later_than_the_window(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.delivered(one))
    await router.settle()
    await router.settle_at(NOW + 30 * DAY)
    assert router.state(one)["status"] == "delivered"
    await router.settle_at(NOW + 30 * DAY + 1000)
    last = router.log.topics[router.changelog_topic][-1]
    assert (last.key, last.value) == (one, None)
    before = len(router.log.topics[router.changelog_topic])
    await router.settle()
    assert len(router.log.topics[router.changelog_topic]) == before


async def test_the_queues_are_told_each_second_while_they_change(router: RouterOnLog) -> None:
    ids = [make.message_id() for _ in range(3)]
    router.give(*(make.submit(one) for one in ids))
    await router.settle()
    router.give(make.temporary(ids[0]))
    router.log.now_ms += 1_000
    await router.settle()
    queue_state = router.log.topics[TOPICS["queue-state"].name]
    assert {record.key for record in queue_state} == {"standard:0"}
    (queue,) = orjson.loads(queue_state[-1].value or b"")["data"]["queues"]
    assert queue == {
        "destination": "example.org",
        "waiting": 1,
        "in_flight": 2,
        "oldest_ms": NOW,
        "next_due_ms": NOW + 31_000,
        "provider_group": "example.org",
        "reason": "retry_ladder",
        "paused": False,
    }
    told = len(queue_state)
    router.log.now_ms += 5_000
    await router.settle()
    assert len(queue_state) == told


async def test_the_local_file_may_be_lost_at_any_time(router: RouterOnLog, tmp_path: Path) -> None:
    ids = [make.message_id() for _ in range(5)]
    router.give(*(make.submit(one) for one in ids))
    await router.settle()
    router.give(*(make.temporary(one) for one in ids))
    await router.settle()
    router.kill()
    shutil.rmtree(tmp_path)
    router.start()
    await router.settle_at(NOW + 32_000)
    assert sorted(router.sent()[5:]) == sorted((one, 2, 1) for one in ids)


async def test_what_an_older_owner_lands_behind_the_fence_is_void_for_who_goes_on_from_the_file(
    router: RouterOnLog,
) -> None:
    """The fence lies before the place where the file stands, so the file must know it. Found by the simulation."""
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    late = [record for record in router.log.topics[router.changelog_topic] if record.key == one][-1]
    router.kill()
    router.start()
    router.give(make.temporary(one))
    await router.settle()
    assert router.view is not None
    await router.tick()  # the file is committed here
    router.log.append(Outgoing(router.changelog_topic, one, late.value, 0))
    router.kill()
    router.start()
    assert router.view is not None
    again = router.view.current(one, router._tenure())
    assert again is not None
    assert orjson.loads(again.value or b"")["data"]["status"] == "deferred"


async def test_a_void_record_is_overwritten_with_the_live_one(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    assert router.view is not None
    again = router.view.current(one, router._tenure())
    assert again is not None
    assert again.value is not None
    assert orjson.loads(again.value)["data"] == router.state(one) | {"valid_until_ms": router._tenure().valid_until_ms}
    assert router.view.current(make.message_id(), router._tenure()) is None


async def test_the_position_is_remembered_in_the_changelog(router: RouterOnLog) -> None:
    assert router.view is not None
    record = router.view.position_record(17, router._tenure())
    assert record is not None
    assert record.key == POSITION_KEY
    router.log.append(Outgoing(router.changelog_topic, record.key, record.value, 0))
    router.kill()
    router.start()
    assert router.view.input_position() == 17


async def test_a_thousand_waiting_go_out_without_ever_passing_the_window(tmp_path: Path) -> None:  # D34
    router = RouterOnLog(tmp_path, window=20)
    ids = [make.message_id() for _ in range(1000)]
    router.give(*(make.submit(one) for one in ids))
    await router.settle()
    reported = 0
    while reported < len(ids):
        sent = router.sent()
        assert len(sent) - reported <= 20
        router.give(*(make.delivered(of, attempt, dispatch) for of, attempt, dispatch in sent[reported:]))
        reported = len(sent)
        await router.settle()
    assert [of for of, _, _ in router.sent()] == ids


def _verdicts(router: RouterOnLog) -> list[dict[str, Any]]:
    return [reply["data"] for reply in router.log.values(TOPICS["replies"].name)]


async def test_scheduled_mail_survives_restarts_and_goes_out_at_its_time(router: RouterOnLog) -> None:  # R6, D22
    one, at = make.message_id(), NOW + 3 * DAY
    router.give(make.submit(one, scheduled_ms=at))
    await router.settle()
    assert router.statuses(one) == ["queued", "scheduled"]
    for _ in range(2):
        router.kill()
        router.start()
        await router.settle_at(at - 1)
        assert router.sent() == []
    await router.settle_at(at)
    assert router.sent() == [(one, 1, 1)]
    assert router.live_deliveries()[0]["content"]["text"] == "847291\n"
    assert router.statuses(one) == ["queued", "scheduled", "accepted"]


async def test_a_clock_that_is_ahead_sends_nothing_early(router: RouterOnLog) -> None:  # D24
    one, at = make.message_id(), NOW + 60_000
    router.give(make.submit(one, scheduled_ms=at))
    await router.settle()
    router.skew_ms = 3_600_000
    for _ in range(3):
        await router.tick()
        await router.batch()
    assert router.sent() == []
    router.skew_ms = 0
    await router.settle_at(at)
    assert router.sent() == [(one, 1, 1)]


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_cancel_against_due_one_wins_and_the_answer_tells_which(
    router: RouterOnLog, cancel_first: bool
) -> None:  # R7, D23
    one, at = make.message_id(), NOW + 60_000
    router.give(make.submit(one, scheduled_ms=at))
    await router.settle()
    router.log.now_ms = at
    if cancel_first:
        router.give(make.cancel(one))
        await router.tick()
    else:
        await router.tick()
        router.give(make.cancel(one))
    await router.settle()
    (verdict,) = _verdicts(router)
    assert verdict["verdict"] == ("done" if cancel_first else "refused")
    assert (router.statuses(one)[-1], len(router.sent())) == (("cancelled", 0) if cancel_first else ("accepted", 1))


async def test_a_thousand_races_of_cancel_against_due(router: RouterOnLog) -> None:  # D23
    ids = [make.message_id() for _ in range(1000)]
    random = Random(23)
    router.give(
        *(make.submit(one, scheduled_ms=NOW + 60_000, destination=f"d{n % 20}.org") for n, one in enumerate(ids))
    )
    await router.settle()
    router.log.now_ms += 60_000
    left = random.sample(ids, 1000)
    while left:
        some, left = left[:97], left[97:]
        router.give(*(make.cancel(one, f"req_{one}") for one in some))
        await router.tick()
        await router.batch()
    await router.settle()
    sent = {of for of, _, _ in router.sent()}
    told = {verdict["message_id"]: verdict["verdict"] for verdict in _verdicts(router)}
    last = {event["subject"]: event["data"]["status"] for event in router.log.values(EVENTS)}
    assert set(last.values()) == {"cancelled", "accepted"}
    for one in ids:
        assert (told[one] == "done") == (one not in sent) == (last[one] == "cancelled")


@pytest.mark.parametrize("step", ["decided", "state", "half", "outputs"])
async def test_killed_at_any_step_a_command_has_one_effect_and_one_verdict(router: RouterOnLog, step: Any) -> None:
    one = make.message_id()
    router.give(make.submit(one, scheduled_ms=NOW + DAY))
    await router.settle()
    router.give(make.cancel(one), make.cancel(one, to="ingest-2"))
    with pytest.raises(Killed):
        await router.batch(killed_after=step)
    router.kill()
    router.log.now_ms += 60_000
    router.start()
    await router.settle()
    assert router.statuses(one) == ["queued", "scheduled", "cancelled"]
    assert {(v["verdict"], v["sequence"]) for v in _verdicts(router)} == {("done", 3)}
    assert {record.key for record in router.log.topics[TOPICS["replies"].name]} == {"ingest-1", "ingest-2"}


async def test_a_command_on_a_message_that_nobody_knows_is_answered_without_a_record(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.cancel(one))
    before = len(router.log.topics[router.changelog_topic])
    with pytest.raises(Killed):
        await router.batch(killed_after="outputs")
    router.kill()
    router.start()
    await router.settle()
    assert {v["verdict"] for v in _verdicts(router)} == {"unknown_message"}
    assert len({r.key for r in router.log.topics[router.changelog_topic][before:]} - {FENCE_KEY}) == 0
    router.give(make.submit(one))
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted"]


async def test_scheduled_mail_of_a_listed_recipient_ends_at_once(router: RouterOnLog) -> None:  # R11
    one = make.message_id()
    router.give(make.submit(one, scheduled_ms=NOW + DAY))
    await router.settle()
    router.listing.add("ada@example.org")
    await router.settle()
    assert router.statuses(one) == ["queued", "scheduled", "suppressed"]


async def test_scheduled_mail_takes_no_place_and_no_turn_from_what_is_due(tmp_path: Path) -> None:  # R10
    router = RouterOnLog(tmp_path, window=2)
    router.give(*(make.submit(make.message_id(), scheduled_ms=NOW + DAY) for _ in range(10)))
    now = [make.message_id() for _ in range(2)]
    router.give(*(make.submit(one) for one in now))
    await router.settle()
    assert [of for of, _, _ in router.sent()] == now


async def test_what_waits_for_a_place_ends_at_its_deliver_before(tmp_path: Path) -> None:  # R2
    router = RouterOnLog(tmp_path, window=1)
    first, second = make.message_id(), make.message_id()
    router.give(make.submit(first), make.submit(second, deliver_before_ms=NOW + 5_000))
    await router.settle()
    await router.settle_at(NOW + 4_999)
    assert router.statuses(second) == ["queued", "accepted"]
    await router.settle_at(NOW + 5_000)
    assert router.statuses(second) == ["queued", "accepted", "expired"]
    router.give(make.delivered(first))
    await router.settle()
    assert router.sent() == [(first, 1, 1)]


async def test_a_delivery_says_until_when_it_is_of_use(router: RouterOnLog) -> None:  # R2
    one = make.message_id()
    router.give(make.submit(one, deliver_before_ms=NOW + 5_000))
    await router.settle()
    assert router.live_deliveries()[0]["deliver_before_ms"] == NOW + 5_000
    router.give(make.too_late(one))
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted", "expired"]


async def test_a_complaint_lists_the_recipient_with_its_cause(router: RouterOnLog) -> None:  # R11, R24
    one = make.message_id()
    router.give(make.submit(one), make.delivered(one))
    await router.settle()
    router.give(make.delivered(one), make.feedback(one, "complaint"), make.feedback(one, "complaint"))
    await router.settle()
    assert [event["type"] for event in router.events(one)][2:] == ["message.delivered", "message.complained"]
    complained = router.events(one)[-1]
    assert complained["data"]["status"] == "delivered"
    (entry,) = router.log.values(TOPICS["suppressions"].name)
    assert (entry["data"]["reason"], entry["data"]["origin"]) == ("complaint", "complaint")
    assert entry["data"]["source_event_id"] == complained["id"]
    (told,) = router.log.values(TOPICS["account-events"].name)
    assert told["data"]["reason"] == "complaint"


async def test_a_bounce_long_after_delivery_is_still_told(router: RouterOnLog) -> None:  # R24
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give(make.delivered(one))
    await router.settle()
    await router.settle_at(NOW + 29 * DAY)
    router.give(make.feedback(one, "bounce"))
    await router.settle()
    assert router.statuses(one)[-1] == "bounced"
    assert router.events(one)[-1]["data"]["feedback"]["kind"] == "bounce"
    await router.settle_at(NOW + 31 * DAY)
    router.give(make.feedback(one, "complaint"))
    await router.settle()
    assert router.statuses(one)[-1] == "bounced"  # beyond the window nobody knows it


async def test_a_released_message_goes_out_with_what_its_submit_says(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    router.give_poison(one)
    await router.settle()
    router.give(make.release(one))
    await router.settle()
    assert router.statuses(one) == ["queued", "accepted", "held", "accepted"]
    assert router.sent() == [(one, 1, 1), (one, 1, 2)]
    assert router.live_deliveries()[1]["content"]["text"] == "847291\n"
