"""Retries on virtual time: outages, greylists, herds, and what they may cost new mail (R22; D32, D56, D59)."""

from collections import Counter
from pathlib import Path

import orjson
import pytest

from rules.routing import choose
from schemas.envelope import to_ms
from services.router.domain.ladder import jitter_of
from tests.kit import router_inputs as make
from tests.kit import router_tables as table
from tests.kit.router_log import RouterOnLog

NOW = make.START_MS
MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture
def router(tmp_path: Path) -> RouterOnLog:
    return RouterOnLog(tmp_path)


async def attempts_until_closed(router: RouterOnLog, one: str, up_at_ms: int) -> list[int]:
    """A receiver that takes nothing before `up_at_ms`; the seconds at which attempts were made."""
    router.give(make.submit(one))
    await router.settle()
    made: list[int] = []
    while router.statuses(one)[-1] in {"accepted", "deferred"}:
        of, attempt, dispatch = router.sent()[-1]
        made.append((router.log.now_ms - NOW) // 1000)
        is_up = router.log.now_ms >= up_at_ms
        router.give(make.delivered(of, attempt, dispatch) if is_up else make.temporary(of, attempt, dispatch))
        await router.settle()
        due = router.state(one)["due_at_ms"]
        if due is not None:
            await router.settle_at(due)
    return made


async def test_a_receiver_that_is_down_for_eight_hours_gets_nothing_by_the_default(router: RouterOnLog) -> None:  # D59
    one = make.message_id()
    made = await attempts_until_closed(router, one, NOW + 8 * HOUR)
    assert made == [0, 30, 330, 2_130, 9_330, 27_330]  # the last at 7 h 35 m 30 s
    last = router.events(one)[-1]
    assert (last["data"]["status"], last["data"]["category"], last["data"]["gave_up"]) == (
        "bounced",
        "transient",
        "last_attempt",
    )
    assert to_ms(last["time"]) == NOW + 27_330_000


async def test_a_receiver_that_is_down_for_eight_hours_gets_it_by_a_longer_schedule(router: RouterOnLog) -> None:  # D59
    longer = table.policy(recipient_domains=["example.org"], retry_schedule_ms=[30_000, *[HOUR] * 9])
    router.tables.policy_changed("pol_1", None, longer)
    one = make.message_id()
    made = await attempts_until_closed(router, one, NOW + 8 * HOUR)
    assert (router.statuses(one)[-1], made[-1]) == ("delivered", 30 + 8 * 3_600)


async def test_a_mail_that_may_not_become_old_bounces_before_its_ladder_ends(router: RouterOnLog) -> None:
    router.tables.policy_changed("pol_1", None, table.policy(tags=["otp"], max_age_ms=10 * MINUTE))
    one = make.message_id()
    assert await attempts_until_closed(router, one, NOW + HOUR) == [0, 30, 330]
    data = router.events(one)[-1]["data"]
    assert (data["status"], data["category"], data["gave_up"]) == ("bounced", "transient", "max_age")


async def test_a_greylist_of_four_minutes_sees_the_same_envelope_until_it_lets_it_in(
    router: RouterOnLog,
) -> None:  # D56
    """Two smarthosts of equal weight: only the greylist keeps the mail to the one that it was seen from."""
    for name in ("ups_1", "ups_2"):
        router.tables.upstream_changed(name, None, table.upstream(name))
    router.tables.route_changed("rte_1", None, table.route(paths=["ups_1", "ups_2"]))
    ids = [make.message_id() for _ in range(20)]
    router.give(*(make.submit(one) for one in ids))
    await router.settle()
    for attempt, at in ((1, 30_000), (2, 330_000)):
        for sent in router.live_deliveries()[-20:]:
            seen = make.detail(attempt).model_copy(update={"source_address": f"192.0.2.{len(sent['path'])}"})
            listed = make.temporary(sent["message_id"], attempt).model_copy(
                update={"category": "greylisted", "detail": seen}
            )
            router.give(listed)
        await router.settle()
        await router.settle_at(NOW + at)
    assert {router.events(one)[2]["data"]["reason"] for one in ids} == {"greylisted"}
    by_message: dict[str, list[tuple[object, ...]]] = {}
    for sent in router.live_deliveries():
        envelope = (sent["path"], sent["recipient"], sent["content"]["from"])
        by_message.setdefault(sent["message_id"], []).append(envelope)
        assert sent["source_address"] == (None if sent["attempt"] == 1 else "192.0.2.5")
    assert {len(envelopes) for envelopes in by_message.values()} == {3}
    assert {len(set(envelopes)) for envelopes in by_message.values()} == {1}
    assert len({envelopes[0] for envelopes in by_message.values()}) == 2
    router.give(*(make.delivered(one, 3) for one in ids))
    await router.settle()
    assert {router.statuses(one)[-1] for one in ids} == {"delivered"}


async def test_another_outcome_forgets_the_greylists_address(router: RouterOnLog) -> None:
    one = make.message_id()
    router.give(make.submit(one))
    await router.settle()
    seen = make.detail(1).model_copy(update={"source_address": "192.0.2.1", "path": "upstream"})
    router.give(make.temporary(one).model_copy(update={"category": "greylisted", "detail": seen}))
    await router.settle()
    await router.settle_at(NOW + 30_000)
    assert router.live_deliveries()[-1]["source_address"] == "192.0.2.1"
    router.give(make.temporary(one, 2))
    await router.settle()
    await router.settle_at(NOW + 330_000)
    last = router.live_deliveries()[-1]
    assert (last["attempt"], last["source_address"]) == (3, None)


async def test_ten_thousand_due_after_an_outage_go_out_behind_new_mail_and_within_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D32. The router was away for an hour: all are due at once, and a receiver takes a hundred each tenth of a second."""
    monkeypatch.setattr("services.router.domain.admission._FIRST_WINDOW", 10_000)
    router = RouterOnLog(tmp_path, window=10_000)
    old = [make.message_id() for _ in range(10_000)]
    router.give(*(make.submit(one) for one in old))
    await router.settle()
    router.give(*(make.temporary(one) for one in old))
    await router.settle()
    states = {record.key: record.value for record in router.log.topics[router.changelog_topic]}
    due = Counter((orjson.loads(states[one] or b"")["data"]["due_at_ms"] - NOW) // 150 for one in old)
    assert (min(due), max(due)) in {(200, 209), (200, 210)}  # 30 s to 31.5 s
    assert max(due.values()) < 2_000, "spread by chance, but for the first batch"
    router.kill()
    router.log.now_ms += HOUR
    router._window = 100
    router.start()
    new: list[str] = []
    starts, waited = Counter[int](), []
    out = router.log.topics[router.deliveries]
    for turn in range(20):
        fresh = [make.message_id() for _ in range(20)]
        new += fresh
        done = len(out)
        router.give(*(make.submit(one, created_at_ms=router.log.now_ms) for one in fresh))
        await router.settle()
        sent = [record.key for record in out[done:]]
        starts[turn] = len(sent)
        waited += [of for of in sent if of in set(new)]
        assert len(sent) <= 100
        router.give(*(make.delivered(of, 1 if of in set(new) else 2) for of in sent))
        router.log.now_ms += 100
    assert waited == new[: len(waited)], "in order"
    assert len(waited) >= len(new) - 40, "new mail waits for one turn, while thousands are due"
    assert min(list(starts.values())[1:]) == 100, "and deferred mail has all the rest"


async def test_a_flood_of_new_mail_leaves_a_tenth_to_mail_that_is_tried_again(tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path, window=10)
    old = [make.message_id() for _ in range(10)]
    router.give(*(make.submit(one) for one in old))
    await router.settle()
    router.give(*(make.temporary(one) for one in old))
    await router.settle()
    router.log.now_ms += 29_000
    router.give(*(make.submit(make.message_id()) for _ in range(300)))
    await router.settle()
    await router.settle_at(NOW + 32_000)
    done = 10
    while done < 130:
        sent = router.sent()[done:]
        done += len(sent)
        router.give(*(make.delivered(*one) for one in sent))
        await router.settle()
    again = [attempt for _, attempt, _ in router.sent()[20:130]].count(2)
    assert 8 <= again <= 10


def test_the_chance_that_spreads_is_not_the_one_that_chooses_a_path() -> None:
    """Else all mail of one path would be due at the same end of the spread."""
    low = [f"msg_{n}" for n in range(2_000) if jitter_of(f"msg_{n}", 1) < 0.1]
    routes = [table.route(paths=["ups_1", "ups_2"])]
    taken = Counter(choose(table.facts(message_id=one), routes, table.paths(), NOW).path for one in low)
    assert min(taken.values()) > 60
