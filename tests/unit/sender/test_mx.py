"""What DNS says of a domain, and where its mail goes then: all of D52, and D53's addresses (R20; RFC 5321, 5.1)."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

import pytest

from services.sender.domain.mx import (
    MOST_ADDRESSES,
    MOST_HOSTS,
    Absence,
    Exchanger,
    Guard,
    confirmed,
    hosts_of,
    leaving_from,
    targets_of,
)
from services.sender.domain.outcome import Outcome

OPEN = Guard(allowed=(ip_network("0.0.0.0/0"), ip_network("::/0")))


def backwards(items: Sequence[Exchanger]) -> Sequence[Exchanger]:
    return items[::-1]


def hosts(*found: tuple[int, str]) -> tuple[str, ...] | Outcome:
    return hosts_of("example.org", [Exchanger(*each) for each in found], lambda items: items)


def test_the_lowest_preference_comes_first() -> None:
    assert hosts((20, "b"), (10, "a"), (30, "c")) == ("a", "b", "c")


def test_equals_are_shuffled_and_nothing_else() -> None:
    found = [Exchanger(20, "c"), Exchanger(10, "a"), Exchanger(10, "b"), Exchanger(30, "d")]
    assert hosts_of("example.org", found, backwards) == ("b", "a", "c", "d")


def test_null_mx_is_final_without_a_connection() -> None:
    found = hosts((0, ""))
    assert isinstance(found, Outcome)
    assert (found.outcome, found.category, found.code, found.enhanced_code) == (
        "permanent",
        "domain_not_found",
        556,
        "5.1.10",
    )


def test_null_mx_among_others_is_passed_over() -> None:
    """RFC 7505, 3: it counts where it is alone."""
    assert hosts((0, ""), (10, "a")) == ("a",)


def test_no_mx_means_the_domain_itself() -> None:
    assert hosts_of("example.org", "no_data", lambda items: items) == ("example.org",)


def test_no_such_domain_is_final() -> None:
    found = hosts_of("example.org", "no_name", lambda items: items)
    assert isinstance(found, Outcome)
    assert (found.outcome, found.category, found.enhanced_code) == ("permanent", "domain_not_found", "5.1.2")


def test_silence_is_never_no_mx() -> None:
    found = hosts_of("example.org", "failed", lambda items: items)
    assert isinstance(found, Outcome)
    assert (found.outcome, found.category, found.enhanced_code) == ("temporary", "no_answer", "4.4.3")


def test_fifty_exchangers_are_capped() -> None:
    found = hosts(*((n, f"mx{n}") for n in range(50)))
    assert found == tuple(f"mx{n}" for n in range(MOST_HOSTS))


def test_a_host_that_stands_twice_is_tried_once() -> None:
    assert hosts((10, "a"), (20, "a"), (20, "b")) == ("a", "b")


Addresses = Mapping[str, Sequence[str] | Absence]


@pytest.mark.parametrize(
    ("addresses", "targets"),
    [
        ({"a": ["192.0.2.1"], "b": ["192.0.2.2"]}, (("a", "192.0.2.1"), ("b", "192.0.2.2"))),
        # a few of each before more of any: two hosts at least are tried
        (
            {"a": [f"192.0.2.{n}" for n in range(8)], "b": ["192.0.2.100"]},
            (
                ("a", "192.0.2.0"),
                ("a", "192.0.2.1"),
                ("b", "192.0.2.100"),
                ("a", "192.0.2.2"),
                ("a", "192.0.2.3"),
            ),
        ),
        ({"a": "failed", "b": ["192.0.2.2"]}, (("b", "192.0.2.2"),)),
        ({"a": "no_name", "b": ["192.0.2.2"]}, (("b", "192.0.2.2"),)),
    ],
)
def test_who_is_tried(addresses: Addresses, targets: tuple[tuple[str, str], ...]) -> None:
    found = targets_of("example.org", list(addresses), addresses, OPEN)
    assert found == targets
    assert len(found) <= MOST_ADDRESSES


@pytest.mark.parametrize(
    ("addresses", "verdict", "category", "enhanced"),
    [
        ({"a": "no_name", "b": "failed"}, "temporary", "no_answer", "4.4.3"),  # one of them may be there
        ({"a": "no_name", "b": "no_data"}, "temporary", "no_answer", "4.4.4"),  # an MX that leads nowhere: no fall-back
        ({"example.org": "no_data"}, "permanent", "domain_not_found", "5.1.2"),  # neither MX nor address
        ({"example.org": "failed"}, "temporary", "no_answer", "4.4.3"),
    ],
)
def test_nobody_to_try(addresses: Addresses, verdict: str, category: str, enhanced: str) -> None:
    found = targets_of("example.org", list(addresses), addresses, OPEN)
    assert isinstance(found, Outcome)
    assert (found.outcome, found.category, found.enhanced_code) == (verdict, category, enhanced)
    assert found.phase == "connect"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
    ],
)
def test_an_exchanger_never_leads_into_our_network(address: str) -> None:
    """D53: refused, for good, and without a word about the recipient."""
    found = targets_of("example.org", ["mx"], {"mx": [address]}, Guard())
    assert isinstance(found, Outcome)
    assert (found.outcome, found.category) == ("permanent", "rejected")


@pytest.mark.parametrize(("host", "address"), [("mx.example.org", "8.8.8.8"), ("MX.sender.example", "9.9.9.9")])
def test_an_exchanger_that_is_us_is_refused(host: str, address: str) -> None:
    """D53: mail would go round and round."""
    guard = Guard(own=frozenset({"8.8.8.8", "mx.sender.example"}))
    found = targets_of("example.org", [host], {host: [address]}, guard)
    assert isinstance(found, Outcome)
    assert found.category == "rejected"


def test_what_is_refused_does_not_stop_the_others() -> None:
    addresses = {"a": ["10.0.0.1", "8.8.8.8"], "b": ["127.0.0.1"]}
    assert targets_of("example.org", ["a", "b"], addresses, Guard()) == (("a", "8.8.8.8"),)


def test_a_setting_allows_networks() -> None:
    guard = Guard(allowed=(ip_network("127.0.0.0/8"),))
    assert targets_of("example.org", ["a"], {"a": ["127.0.0.7"]}, guard) == (("a", "127.0.0.7"),)
    assert isinstance(targets_of("example.org", ["a"], {"a": ["10.0.0.1"]}, guard), Outcome)


TARGETS = (("a", "8.8.8.8"), ("b", "2001:4860::8"))


@pytest.mark.parametrize(
    ("sources", "preferred", "source", "targets"),
    [
        ((), None, None, TARGETS),
        ((), "9.9.9.9", None, TARGETS),
        (("9.9.9.1", "9.9.9.2"), None, "9.9.9.1", TARGETS[:1]),
        (("9.9.9.1", "9.9.9.2"), "9.9.9.2", "9.9.9.2", TARGETS[:1]),  # a greylist sees the same one again
        (("9.9.9.1", "9.9.9.2"), "9.9.9.9", "9.9.9.1", TARGETS[:1]),  # not ours any more
        (("2a00::1",), None, "2a00::1", TARGETS[1:]),
    ],
)
def test_from_where(
    sources: Sequence[str], preferred: str | None, source: str | None, targets: tuple[tuple[str, str], ...]
) -> None:
    assert leaving_from(TARGETS, sources, preferred, lambda items: items) == (source, targets)


def test_no_address_of_ours_of_their_kind() -> None:
    found = leaving_from(TARGETS[:1], ("2a00::1",), None, lambda items: items)
    assert isinstance(found, Outcome)
    assert found.outcome == "temporary"


@pytest.mark.parametrize(
    ("attempt", "hours", "verdict"),
    [(1, 0, "temporary"), (1, 24, "temporary"), (2, 0, "temporary"), (2, 1, "permanent")],
)
def test_that_a_domain_is_not_there_is_believed_at_a_second_look(attempt: int, hours: int, verdict: str) -> None:
    """R25: a zone may be away for a moment, and the recipient would be suppressed."""
    absent = hosts_of("example.org", "no_name", lambda items: items)
    assert isinstance(absent, Outcome)
    found = confirmed(absent, attempt=attempt, age_ms=hours * 3_600_000)
    assert (found.outcome, found.category == "domain_not_found") == (verdict, verdict == "permanent")


def test_null_mx_is_believed_at_once() -> None:
    refused = hosts_of("example.org", [Exchanger(0, "")], lambda items: items)
    assert isinstance(refused, Outcome)
    assert confirmed(refused, attempt=1, age_ms=0) == refused
