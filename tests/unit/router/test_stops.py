"""Pauses, flushes, paths that nobody takes, routes that change: what waits, for how long, and in which order it goes on (R20, R21)."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.routing import QueueFlush, QueueKind, QueuePause
from schemas.topics import TOPICS
from services.router.domain.pauses import Bar
from tests.kit import router_inputs as make
from tests.kit import router_tables as table
from tests.kit.router_log import RouterOnLog

NOW = make.START_MS
HOUR = 3_600_000


@pytest.fixture
def router(tmp_path: Path) -> RouterOnLog:
    return RouterOnLog(tmp_path, window=4)


def control(router: RouterOnLog, entry: QueuePause | QueueFlush) -> None:
    router.tables.control_changed(table.key_of(entry), None, entry)


def resume(router: RouterOnLog, pause: QueuePause) -> None:
    router.tables.control_changed(table.key_of(pause), pause, None)


async def submitted(router: RouterOnLog, count: int, **fields: Any) -> list[str]:
    ids = [make.message_id(router.lane) for _ in range(count)]
    router.give(*(make.submit(one, **fields) for one in ids))
    await router.settle()
    return ids


def sent_of(router: RouterOnLog, ids: Sequence[str]) -> list[str]:
    return [of for of, _, _ in router.sent() if of in ids]


async def deliver_all(router: RouterOnLog) -> None:
    """A sender that delivers whatever is handed out, until nothing is."""
    seen = 0
    while seen < len(sent := router.sent()):
        router.give(*(make.delivered(*one) for one in sent[seen:]))
        seen = len(sent)
        await router.settle()


def queue(router: RouterOnLog, destination: str = "example.org") -> dict[str, Any]:
    (found,) = [
        queue
        for queue in orjson.loads(router.log.topics[TOPICS["queue-state"].name][-1].value or b"")["data"]["queues"]
        if queue["destination"] == destination
    ]
    return dict(found)


PAUSES: list[tuple[QueueKind, str, str]] = [
    ("destination", "example.org", "destination_paused"),
    ("provider_group", "google", "destination_paused"),
    ("path", "upstream", "path_paused"),
]


@pytest.mark.parametrize("owner", [make.PROJECT, ""])
@pytest.mark.parametrize(("kind", "name", "reason"), PAUSES)
async def test_a_paused_queue_hands_out_nothing_and_goes_on_in_order(
    router: RouterOnLog, kind: QueueKind, name: str, reason: str, owner: str
) -> None:
    router.tables.destination_changed("example.org", None, table.destination("example.org", "google"))
    pause = table.pause(kind, name, owner)
    control(router, pause)
    ids = await submitted(router, 9)
    await router.settle_at(NOW + HOUR)
    assert router.sent() == []
    assert {tuple(router.statuses(one)) for one in ids} == {("queued", "accepted")}
    assert {router.events(one)[-1]["data"]["reason"] for one in ids} == {reason}
    inputs = len(router.log.topics[router.inputs])
    await router.settle_at(NOW + 2 * HOUR)
    assert len(router.log.topics[router.inputs]) == inputs, "what is stopped makes no inputs"
    resume(router, pause)
    await router.settle()
    assert sent_of(router, ids) == ids[:4]  # by admission, so no herd
    await deliver_all(router)
    assert sent_of(router, ids) == ids


@pytest.mark.parametrize(("kind", "name", "reason"), PAUSES)
async def test_a_pause_stops_what_stands_in_line_already(
    router: RouterOnLog, kind: QueueKind, name: str, reason: str
) -> None:
    router.tables.destination_changed("example.org", None, table.destination("example.org", "google"))
    ids = await submitted(router, 9)
    pause = table.pause(kind, name)
    control(router, pause)
    router.give(*(make.delivered(one) for one in ids[:4]))
    await router.settle()
    router.log.now_ms += 2_000
    await router.settle()
    assert sent_of(router, ids) == ids[:4]
    assert (queue(router)["reason"], queue(router)["waiting"]) == (reason, 5)
    assert queue(router)["paused"] == (kind != "path")
    resume(router, pause)
    await router.settle()
    assert sent_of(router, ids) == ids[:8]
    router.log.now_ms += 2_000
    await router.settle()
    assert not queue(router)["paused"]


async def test_a_pause_is_of_its_project_and_its_queue_alone(router: RouterOnLog) -> None:
    control(router, table.pause("destination", "example.org", "prj_2"))
    control(router, table.pause("destination", "example.net"))
    ids = await submitted(router, 2)
    assert sent_of(router, ids) == ids


async def test_a_pause_of_one_does_not_slow_the_others_of_its_group(router: RouterOnLog) -> None:
    """Stopped mail counts for nothing in the window: a newcomer beside it still goes straight out."""
    for name in ("example.org", "example.net"):
        router.tables.destination_changed(name, None, table.destination(name, "google"))
    control(router, table.pause("destination", "example.org"))
    await submitted(router, 20)
    other = make.message_id()
    router.give(make.submit(other, destination="example.net"))
    await router.batch()
    assert sent_of(router, [other]) == [other]


async def test_a_critical_mails_pause_is_a_pause_too(tmp_path: Path) -> None:
    router = RouterOnLog(tmp_path, lane="express")
    control(router, table.pause("destination", "example.org"))
    (one,) = await submitted(router, 1, priority="critical")
    assert router.sent() == []
    assert router.state(one)["reason"] == "destination_paused"


async def test_deferred_mail_that_comes_due_in_a_pause_keeps_its_status_and_its_rank(router: RouterOnLog) -> None:
    (one,) = await submitted(router, 1)
    router.give(make.temporary(one))
    await router.settle()
    pause = table.pause("destination", "example.org")
    control(router, pause)
    await router.settle_at(NOW + 30_000)
    state = router.state(one)
    assert (state["status"], state["reason"], state["rank_ms"]) == ("deferred", "destination_paused", NOW + 30_000)
    resume(router, pause)
    await router.settle()
    assert router.sent()[-1] == (one, 2, 1)


async def test_what_is_stopped_can_be_cancelled_and_expires(router: RouterOnLog) -> None:
    control(router, table.pause("destination", "example.org"))
    gone, late = make.message_id(), make.message_id()
    router.give(make.submit(gone), make.submit(late, deliver_before_ms=NOW + 60_000))
    await router.settle()
    router.give(make.cancel(gone))
    await router.settle_at(NOW + 60_000)
    assert (router.statuses(gone)[-1], router.statuses(late)[-1]) == ("cancelled", "expired")


@pytest.mark.parametrize("file_is_lost", [False, True])
async def test_a_pause_outlives_a_restart_and_one_that_ended_meanwhile_stops_nothing(
    router: RouterOnLog, tmp_path: Path, file_is_lost: bool
) -> None:
    pauses = [table.pause("destination", "example.org"), table.pause("path", "upstream")]
    for pause in pauses:
        control(router, pause)
    ids = await submitted(router, 6)
    for pause in pauses:
        router.kill()
        if file_is_lost:
            shutil.rmtree(tmp_path)
        router.start()
        await router.settle()
        assert router.sent() == []
        resume(router, pause)
    router.kill()
    router.start()
    await router.settle()
    assert sent_of(router, ids) == ids[:4]


async def test_two_pauses_on_one_queue_both_have_to_end(router: RouterOnLog) -> None:
    pauses = [table.pause("destination", "example.org", ""), table.pause("provider_group", "example.org")]
    for pause in pauses:
        control(router, pause)
    ids = await submitted(router, 3)
    resume(router, pauses[0])
    await router.settle()
    assert router.sent() == []
    resume(router, pauses[1])
    await router.settle()
    assert sent_of(router, ids) == ids


async def test_an_attempt_that_is_out_already_is_handed_out_again_whatever_is_paused(router: RouterOnLog) -> None:
    """Its journal may say that it was delivered: only whoever asks it learns that."""
    (one,) = await submitted(router, 1)
    control(router, table.pause("path", "upstream"))
    await router.settle_at(NOW + HOUR)
    assert router.sent() == [(one, 1, 1), (one, 1, 2)]


# paths and routes


async def test_without_a_live_sender_mail_waits_and_uses_no_attempt(router: RouterOnLog) -> None:
    router.tables.health_changed("main:1", None, table.alive("mx:main"))
    (one, *_) = ids = await submitted(router, 6)
    assert router.sent() == []
    assert (router.state(one)["reason"], router.state(one)["waits_for"]) == ("path_paused", ["upstream"])
    router.log.now_ms += 1_000
    router.tables.health_changed("main:1", table.alive("mx:main"), table.alive("mx:main", "upstream", at_ms=1))
    await router.settle()
    assert router.sent() == [(of, 1, 1) for of in ids[:4]]
    await deliver_all(router)
    assert sent_of(router, ids) == ids


async def test_where_no_sender_has_ever_told_of_itself_mail_goes_out(router: RouterOnLog) -> None:
    ids = await submitted(router, 1)
    assert sent_of(router, ids) == ids


async def test_a_route_is_told_kept_and_handed_on(router: RouterOnLog) -> None:
    route = table.route(match={"tags": ["otp"]}, paths=["ups_1"], tls="required", version=3)
    router.tables.upstream_changed("ups_1", None, table.upstream("ups_1"))
    router.tables.route_changed("rte_1", None, route)
    (one,) = await submitted(router, 1)
    accepted = router.events(one)[-1]["data"]
    assert [accepted[k] for k in ("path", "pool", "route_id", "route_version")] == ["ups_1", "main", "rte_1", 3]
    (delivery,) = router.live_deliveries()
    assert (delivery["path"], delivery["tls"], delivery["source_address"]) == ("ups_1", "required", None)
    state = router.state(one)
    assert [state[k] for k in ("path", "route_id", "route_version")] == ["ups_1", "rte_1", 3]


async def test_a_changed_route_takes_effect_on_mail_that_waits(router: RouterOnLog) -> None:
    old = table.route(paths=["ups_1"])
    router.tables.upstream_changed("ups_1", None, table.upstream("ups_1"))
    router.tables.route_changed("rte_1", None, old)
    ids = await submitted(router, 6)
    router.give(make.temporary(ids[0]))
    await router.settle()
    router.tables.route_changed("rte_1", old, table.route(paths=["upstream"], version=2))
    await deliver_all(router)
    await router.settle_at(NOW + 30_000)
    paths = {(d["message_id"], d["attempt"]): d["path"] for d in router.live_deliveries()}
    assert [paths[one, 1] for one in ids] == ["ups_1"] * 5 + ["upstream"]  # the fifth took the place of the first
    assert paths[ids[0], 2] == "upstream"


async def test_mail_that_waits_for_a_dead_path_goes_by_the_route_that_replaces_it(router: RouterOnLog) -> None:
    router.tables.health_changed("main:1", None, table.alive("upstream"))
    route = table.route(paths=["ups_gone"])
    router.tables.route_changed("rte_1", None, route)
    ids = await submitted(router, 3)
    assert router.sent() == []
    router.tables.route_changed("rte_1", route, route.model_copy(update={"deleted_at": route.updated_at}))
    await router.settle()
    assert [d["path"] for d in router.live_deliveries()] == ["upstream"] * 3
    assert sent_of(router, ids) == ids


async def test_an_attempt_that_nobody_reports_keeps_its_path_when_it_is_handed_out_again(router: RouterOnLog) -> None:
    route = table.route(paths=["ups_1"])
    router.tables.upstream_changed("ups_1", None, table.upstream("ups_1"))
    router.tables.route_changed("rte_1", None, route)
    await submitted(router, 1)
    router.tables.route_changed("rte_1", route, table.route(paths=["upstream"], version=2))
    await router.settle_at(NOW + HOUR)
    assert [d["path"] for d in router.live_deliveries()] == ["ups_1", "ups_1"]


async def test_a_path_that_is_down_closes_nobody_and_is_looked_for_again_soon(router: RouterOnLog) -> None:
    (one,) = await submitted(router, 1)
    down = make.postponed(one, until_ms=NOW + HOUR).model_copy(update={"reason": "path_down"})
    router.give(down)
    await router.settle()
    assert router.state(one)["reason"] == "path_paused"
    others = await submitted(router, 2)
    assert sent_of(router, others) == others
    await router.settle_at(NOW + 5_000)
    assert router.sent()[-1] == (one, 1, 2)


async def test_mail_of_a_test_key_takes_no_route(router: RouterOnLog) -> None:  # R13
    router.tables.route_changed("rte_1", None, table.route(paths=["ups_gone"]))
    (one,) = await submitted(router, 1, environment="test")
    assert (router.live_deliveries()[0]["path"], router.state(one)["route_id"]) == ("sandbox", None)


# flushes


@pytest.mark.parametrize(
    ("kind", "name"), [("destination", "example.org"), ("provider_group", "google"), ("path", "upstream")]
)
async def test_a_flush_sends_at_once_what_was_deferred_there_and_only_that(
    router: RouterOnLog, kind: QueueKind, name: str
) -> None:
    router.tables.destination_changed("example.org", None, table.destination("example.org", "google"))
    ids = await submitted(router, 4)
    router.give(*(make.temporary(one) for one in ids))
    await router.settle()
    router.log.now_ms += 1_000
    control(router, table.flush(kind, name, router.log.now_ms, "prj_2"))
    await router.settle()
    assert len(router.sent()) == 4  # another's
    control(router, table.flush(kind, name, router.log.now_ms))
    await router.settle()
    assert router.sent()[4:] == [(one, 2, 1) for one in ids]


async def test_a_flush_is_carried_out_once_and_harmless_if_it_comes_again(router: RouterOnLog) -> None:
    (one,) = await submitted(router, 1)
    router.give(make.temporary(one))
    await router.settle()
    control(router, table.flush("destination", "example.org", NOW, ""))
    await router.settle()
    assert router.sent()[-1] == (one, 2, 1)
    router.log.now_ms += 1_000
    router.give(make.temporary(one, 2))  # deferred after it
    await router.settle()
    router.kill()
    router.start()
    await router.settle()
    assert len(router.sent()) == 2
    control(router, table.flush("destination", "example.org", router.log.now_ms))
    await router.settle()
    assert router.sent()[-1] == (one, 3, 1)


async def test_a_flush_of_many_goes_by_admission_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.router.domain.admission._FIRST_WINDOW", 1_000)
    router = RouterOnLog(tmp_path, window=1_000)
    ids = await submitted(router, 800)
    for one in ids:
        router.give(make.temporary(one))
        router.log.now_ms += 1
    await router.settle()
    router.kill()
    router._window = 4
    router.start()
    control(router, table.flush("destination", "example.org", router.log.now_ms))
    await router.settle()
    assert len(router.sent()) == 804
    router.give(*(make.delivered(*one) for one in router.sent()[800:]))
    await router.settle()
    assert [of for of, attempt, _ in router.sent() if attempt == 2] == ids[:8]


async def test_a_flush_of_a_paused_queue_waits_for_the_pause_to_end(router: RouterOnLog) -> None:
    (one,) = await submitted(router, 1)
    router.give(make.temporary(one))
    await router.settle()
    pause = table.pause("destination", "example.org")
    control(router, pause)
    control(router, table.flush("destination", "example.org", NOW))
    await router.settle()
    assert len(router.sent()) == 1
    resume(router, pause)
    await router.settle()
    assert router.sent()[-1] == (one, 2, 1)


# a domain that lapses


async def test_mail_of_a_domain_that_is_not_verified_any_more_is_held_until_it_is_and_somebody_says_so(
    router: RouterOnLog,
) -> None:  # R26
    (waiting,) = await submitted(router, 1)
    router.give(make.temporary(waiting))
    await router.settle()
    lapsed = table.domain("example.com", verified=False)
    router.tables.domain_changed("prj_1:example.com", None, lapsed)
    (fresh,) = await submitted(router, 1)
    await router.settle_at(NOW + 30_000)
    assert router.statuses(fresh) == ["queued", "held"]
    assert router.statuses(waiting) == ["queued", "accepted", "deferred", "held"]
    assert router.events(fresh)[-1]["data"]["reason"] == "held_policy"
    router.give(make.release(fresh))
    await router.settle()
    assert router.statuses(fresh)[-1] == "held"
    verdict = router.log.values(TOPICS["replies"].name)[-1]["data"]
    assert (verdict["verdict"], verdict["reason"]) == ("refused", "domain_not_verified")
    router.tables.domain_changed("prj_1:example.com", lapsed, table.domain("example.com", verified=True))
    router.give(make.release(fresh, "req_4"), make.release(waiting, "req_5"))
    await router.settle()
    assert router.sent()[1:] == [(fresh, 1, 1), (waiting, 2, 1)]


async def test_a_domain_that_nobody_knows_and_mail_of_a_test_key_go_on(router: RouterOnLog) -> None:
    router.tables.domain_changed("prj_1:other.com", None, table.domain("other.com", verified=False))
    router.tables.domain_changed("prj_1:example.com", None, table.domain("example.com", verified=False))
    ids = await submitted(router, 1, environment="test")
    router.tables.domain_changed("prj_1:example.com", table.domain("example.com", verified=False), None)
    ids += await submitted(router, 1)
    assert sent_of(router, ids) == ids


def test_a_bar_is_the_same_after_it_was_a_text() -> None:
    for bar in (Bar.of_pause(("", "destination", "example.org")), Bar.of_paths("prj_1", ["ups_1", "mx:main"])):
        assert Bar.parse(bar.text()) == bar
