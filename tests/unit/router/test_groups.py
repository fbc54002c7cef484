"""Admission by provider group: one window for the domains behind one provider, and groups that become known later (R10, R21)."""

from pathlib import Path

import orjson
import pytest

from schemas.topics import TOPICS
from services.router.domain.admission import Counts, Group, Standing
from tests.kit import router_inputs as make
from tests.kit import router_tables as table
from tests.kit.router_log import RouterOnLog

NOW = make.START_MS


@pytest.fixture
def router(tmp_path: Path) -> RouterOnLog:
    return RouterOnLog(tmp_path, window=4)


def known_as(router: RouterOnLog, destination: str, group: str) -> None:
    router.tables.destination_changed(destination, None, table.destination(destination, group))


def flood(router: RouterOnLog, destination: str, count: int) -> list[str]:
    ids = [make.message_id() for _ in range(count)]
    router.give(*(make.submit(one, destination=destination) for one in ids))
    return ids


async def drain(router: RouterOnLog) -> int:
    """Deliver everything; the most that were in flight at once."""
    done, most = 0, 0
    while done < len(sent := router.sent()):
        most = max(most, len(sent) - done)
        router.give(make.delivered(*sent[done]))
        done += 1
        await router.settle()
    return most


async def test_domains_behind_one_provider_share_one_window(router: RouterOnLog) -> None:
    known_as(router, "a.example", "google")
    known_as(router, "b.example", "google")
    mine, others, apart = flood(router, "a.example", 6), flood(router, "b.example", 6), flood(router, "c.example", 6)
    await router.settle()
    sent = [of for of, _, _ in router.sent()]
    assert sent == [*mine[:4], *apart[:4]]
    assert await drain(router) == 8
    order = [of for of, _, _ in router.sent()]
    for ids in (mine, others, apart):
        assert [of for of in order if of in ids] == ids  # FIFO per destination


async def test_a_destination_whose_group_becomes_known_takes_its_counts_along(router: RouterOnLog) -> None:
    known_as(router, "a.example", "google")
    first, second = flood(router, "a.example", 3), flood(router, "b.example", 9)
    await router.settle()
    assert len(router.sent()) == 7
    known_as(router, "b.example", "google")
    await router.settle()
    router.give(*(make.delivered(one) for one in first))
    await router.settle()
    assert len(router.sent()) == 7, "four of b.example fill the window of both"
    router.give(make.delivered(second[0]))
    await router.settle()
    assert [of for of, _, _ in router.sent()[7:]] == [second[4]]
    known_as(router, "b.example", "other")
    known_as(router, "b.example", "b.example")  # nobody's again
    await router.settle()
    assert router.view is not None
    await drain(router)
    assert [of for of, _, _ in router.sent() if of in second] == second
    live = router.view._live()
    assert (live.queues.waiting, live.queues.in_flight, live.queues._groups) == (0, 0, {})


@pytest.mark.parametrize("file_is_lost", [False, True])
async def test_a_group_that_became_known_while_no_router_ran_counts_from_the_start(
    router: RouterOnLog, tmp_path: Path, file_is_lost: bool
) -> None:
    ids = flood(router, "a.example", 6)
    others = flood(router, "b.example", 6)
    await router.settle()
    router.kill()
    if file_is_lost:
        _lose(tmp_path)
    for name in ("a.example", "b.example"):
        known_as(router, name, "google")
    router.start()
    router.give(*(make.delivered(one) for one in ids[:4]))
    await router.settle()
    assert len(router.sent()) == 8, "four of b.example are in flight"
    await drain(router)
    assert {of for of, _, _ in router.sent()} == {*ids, *others}


def _lose(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


async def test_a_postponed_hand_out_closes_its_whole_group(router: RouterOnLog) -> None:
    for name in ("a.example", "b.example"):
        known_as(router, name, "google")
    (one,) = flood(router, "a.example", 1)
    await router.settle()
    router.give(make.postponed(one, until_ms=NOW + 60_000))
    await router.settle()
    (other,) = flood(router, "b.example", 1)
    await router.settle()
    assert router.sent() == [(one, 1, 1)]
    await router.settle_at(NOW + 60_000)
    assert sorted(router.sent()[1:]) == sorted([(one, 1, 2), (other, 1, 1)])


async def test_people_see_each_destination_with_its_group(router: RouterOnLog) -> None:
    known_as(router, "a.example", "google")
    flood(router, "a.example", 5)
    flood(router, "b.example", 1)
    await router.settle()
    router.log.now_ms += 1_000
    await router.settle()
    told = orjson.loads(router.log.topics[TOPICS["queue-state"].name][-1].value or b"")["data"]["queues"]
    assert {(q["destination"], q["provider_group"], q["waiting"], q["in_flight"], q["reason"]) for q in told} == {
        ("a.example", "google", 1, 4, "admission"),
        ("b.example", "b.example", 0, 1, None),
    }


def test_counts_come_and_go_together() -> None:
    group, moved = Group.of(10), Counts()
    for standing in (
        Standing("a", 2, in_flight=True),
        Standing("a", 2, queued=True, waiting=True),
        Standing("a", 3, queued=True, waiting=True, stopped=True),
    ):
        moved.count(None, standing)
    group.add(moved, 1)
    assert (group.in_flight[2], group.callable(2), group.callable(3), group.waiting) == (1, 1, 0, 2)
    assert list(group.calls()) == [2]
    group.reserved[2] -= 1
    group.add(moved, -1)
    assert group.empty
