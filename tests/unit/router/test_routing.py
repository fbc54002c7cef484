"""Which path a mail takes: rules in order, weights, health, fallbacks, and the same answer each time it is asked (R20)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from rules.pauses import Pauses
from rules.routing import Chosen, Paths, choose, in_order
from schemas.routing import Route
from tests.kit import router_tables as make
from tests.kit.router_inputs import PROJECT, START_MS

NOW = START_MS


def path_of(routes: Sequence[Route], paths: Paths | None = None, **facts: Any) -> str:
    return choose(make.facts(**facts), routes, paths or make.paths(), NOW).path


def shares(routes: Sequence[Route], paths: Paths, mails: int = 4_000) -> Counter[str]:
    return Counter(path_of(routes, paths, message_id=f"msg_{number}") for number in range(mails))


def test_without_a_rule_it_is_the_default_path() -> None:
    assert choose(make.facts(), [], make.paths(), NOW) == Chosen(None, None, "upstream", "main", None)
    direct = make.paths(default="mx:spare")
    assert choose(make.facts(), [], direct, NOW) == Chosen(None, None, "mx:spare", "spare", None)


MATCHES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"recipient_domains": ["example.org"]}, {}, True),
    ({"recipient_domains": ["example.net", "example.org"]}, {}, True),
    ({"recipient_domains": ["example.net"]}, {}, False),
    ({"recipient_domains": ["*.example.org"]}, {}, False),
    ({"recipient_domains": ["*.example.org"]}, {"destination": "mail.example.org"}, True),
    ({"recipient_domains": ["*.example.org"]}, {"destination": "badexample.org"}, False),
    ({"provider_groups": ["google"]}, {}, False),
    ({"provider_groups": ["google"]}, {"provider_group": "google"}, True),
    ({"from_domains": ["example.com"]}, {}, True),
    ({"from_domains": ["shop.example.com"]}, {}, False),
    ({"tags": ["receipt", "otp"]}, {}, True),
    ({"tags": ["receipt"]}, {}, False),
    ({"priorities": ["normal", "bulk"]}, {}, True),
    ({"priorities": ["critical"]}, {}, False),
    ({"recipient_domains": ["example.org"], "tags": ["receipt"]}, {}, False),  # all that is given must fit
    ({"recipient_domains": ["example.org"], "tags": ["otp"], "priorities": ["normal"]}, {}, True),
]


@pytest.mark.parametrize(("match", "facts", "fits"), MATCHES)
def test_a_rule_fits_or_does_not(match: dict[str, Any], facts: dict[str, Any], fits: bool) -> None:
    routes = [make.route(match=match, paths=["ups_1"])]
    assert path_of(routes, **facts) == ("ups_1" if fits else "upstream")


def test_the_first_that_fits_counts_by_position_then_age_and_says_which_it_was() -> None:
    later, first = (
        make.route("rte_later", paths=["ups_2"], position=2),
        make.route("rte_first", paths=["ups_1"], version=7),
    )
    younger = make.route("rte_a", paths=["ups_2"], created_at="2027-01-01T00:00:00.000Z")
    routes = in_order([later, younger, first])
    assert [one.id for one in routes] == ["rte_first", "rte_a", "rte_later"]
    chosen = choose(make.facts(), routes, make.paths(), NOW)
    assert (chosen.route_id, chosen.route_version, chosen.path) == ("rte_first", 7, "ups_1")


def test_each_path_goes_to_the_senders_of_its_pool() -> None:
    for path, pool in (("upstream", "main"), ("ups_1", "main"), ("ups_3", "spare"), ("mx:spare", "spare")):
        assert choose(make.facts(), [make.route(paths=[path])], make.paths(), NOW).pool == pool


def test_weights_are_shares_and_a_choice_made_again_is_the_same() -> None:
    routes = [make.route(paths=[("ups_1", 3), ("ups_2", 1)])]
    found = shares(routes, make.paths())
    assert 2_850 < found["ups_1"] < 3_150
    for attempt in range(1, 7):
        assert len({path_of(routes, message_id="msg_x", attempt=attempt) for _ in range(5)}) == 1
    assert len({path_of(routes, message_id="msg_x", attempt=attempt) for attempt in range(1, 30)}) == 2


def test_a_path_that_fares_badly_keeps_a_twentieth_of_its_mail_and_the_others_take_the_rest() -> None:
    routes = [make.route(paths=["ups_1", "ups_2"])]
    found = shares(routes, make.paths(bad=frozenset({("ups_1", "example.org")})))
    assert 50 < found["ups_1"] < 150  # of 2,000
    assert found["ups_1"] + found["ups_2"] == 4_000
    elsewhere = make.paths(bad=frozenset({("ups_1", "google")}))
    assert shares(routes, elsewhere)["ups_1"] > 1_800  # it is bad at one provider only


def test_a_smarthost_that_fares_badly_does_so_for_every_destination() -> None:
    routes = [make.route(paths=["ups_1", "ups_2"])]
    assert shares(routes, make.paths(bad=frozenset({("ups_1", "ups_1")})))["ups_1"] < 150


def test_a_closed_path_gets_nothing_until_its_time() -> None:
    routes = [make.route(paths=["ups_1", "ups_2"])]
    closed = make.paths(closed_until_ms={("ups_1", "example.org"): NOW + 1})
    assert shares(routes, closed) == {"ups_2": 4_000}
    opened = make.paths(closed_until_ms={("ups_1", "example.org"): NOW})
    assert shares(routes, opened)["ups_1"] > 1_800


def test_fallbacks_come_in_order_when_no_path_of_the_rule_fares_well() -> None:
    routes = [make.route(paths=["ups_1"], fallback=["ups_2", "mx:spare"])]
    bad = frozenset({("ups_1", "example.org")})
    found = shares(routes, make.paths(bad=bad))
    assert found["ups_2"] > 3_700
    assert set(found) == {"ups_1", "ups_2"}
    both = bad | {("ups_2", "example.org")}
    assert shares(routes, make.paths(bad=both))["mx:spare"] > 3_700
    every = both | {("mx:spare", "example.org")}
    assert shares(routes, make.paths(bad=every)) == {"ups_1": 4_000}  # bad is better than nothing


def test_a_path_without_a_live_sender_gets_nothing_at_all() -> None:
    routes = [make.route(paths=["ups_1", "ups_3"], fallback=["upstream"])]
    dead = {"heard": frozenset({"main", "spare"})}
    assert shares(routes, make.paths(**dead, alive=frozenset({("spare", "ups_3")}))) == {"ups_3": 4_000}
    assert shares(routes, make.paths(**dead, alive=frozenset({("main", "upstream")}))) == {"upstream": 4_000}


def test_where_none_can_be_taken_it_waits_for_any_of_them_and_leaks_nowhere_else() -> None:
    routes = [make.route(paths=["ups_1", "ups_2"], fallback=["mx:spare"])]
    paths = make.paths(heard=frozenset({"main", "spare"}), alive=frozenset({("main", "upstream")}))
    assert choose(make.facts(), routes, paths, NOW).waits_for == ("ups_1", "ups_2", "mx:spare")
    assert choose(make.facts(), [], make.paths(heard=frozenset({"main"})), NOW).waits_for == ("upstream",)


def test_an_upstream_or_a_pool_that_is_not_there_is_no_path() -> None:
    routes = [make.route(paths=["ups_gone", "mx:nowhere"], fallback=["ups_1"])]
    assert path_of(routes) == "ups_1"
    (alone,) = [make.route(paths=["ups_gone"])]
    assert choose(make.facts(), [alone], make.paths(), NOW).waits_for == ("ups_gone",)


def test_a_paused_path_is_stopped_for_whom_the_pause_is_for() -> None:
    routes = [make.route(paths=["ups_1", "ups_2"])]
    for owner, stopped in ((PROJECT, True), ("", True), ("prj_2", False)):
        paths = make.paths(pauses=Pauses(frozenset({(owner, "path", "ups_1")})))
        assert (shares(routes, paths)["ups_1"] == 0) == stopped


def test_what_a_greylist_has_seen_goes_the_same_way_again_while_that_fares_well() -> None:
    routes = [make.route(paths=["ups_1", "ups_2"], fallback=["mx:spare"])]
    for kept in ("ups_1", "ups_2", "mx:spare"):
        assert {path_of(routes, message_id=f"msg_{n}", keep=kept) for n in range(50)} == {kept}
    bad = make.paths(bad=frozenset({("ups_1", "example.org")}))
    assert "ups_2" in {path_of(routes, bad, message_id=f"msg_{n}", keep="ups_1") for n in range(50)}
    assert path_of([make.route(paths=["ups_2"])], keep="ups_1") == "ups_2"  # the rule has changed
