"""Mail to a domain's own servers, found by DNS, over real sockets (R20, R28; D51-D53)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.sender.domain.mx import Guard
from services.sender.domain.outcome import Outcome
from services.sender.ports import Carried, Way
from tests.integration.sender.internet import DOMAIN, Internet, internet
from tests.kit.smtp_server import CLOSE, HANG, Fault, says


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Internet]:
    async with internet(tmp_path) as made:
        yield made


def outcome_of(carried: Carried) -> Outcome:
    assert isinstance(carried.ended, Outcome)
    return carried.ended


def servers_of(way: Way | Outcome) -> list[tuple[str, str | None]]:
    assert isinstance(way, Way), way
    return [(server.host, server.address) for server in way.servers]


async def test_a_mail_goes_to_the_first_exchanger(net: Internet) -> None:
    first, second = await net.mail_server(), await net.mail_server("127.0.0.2")
    net.exchangers((20, "b.example.org", "127.0.0.2"), (10, "a.example.org", "127.0.0.1"))
    carried = await net.send()
    assert outcome_of(carried).outcome == "delivered"
    assert (len(first.mails), second.connections) == (1, 0)
    assert carried.hop.mx_host == f"a.example.org:{net.port}"
    assert carried.hop.mx_address == "127.0.0.1"
    assert net.seen.groups == {DOMAIN: DOMAIN}


@pytest.mark.parametrize(
    "fault",
    [
        {"greeting": says("554 5.3.2 Not here")},
        {"greeting": says("421 4.3.2 Not now")},
        {"greeting": CLOSE},
        {"greeting": HANG},  # D51: what never greets must not keep the next host from the mail
        {"ehlo": says("550 5.7.1 Not you")},
        {"ehlo": CLOSE},
    ],
    ids=["554", "421", "close", "tarpit", "ehlo 550", "ehlo close"],
)
async def test_who_does_not_let_us_in_is_passed_over(net: Internet, fault: dict[str, Fault]) -> None:
    first = await net.mail_server(faults=fault)  # type: ignore[arg-type]  # the names of points
    second = await net.mail_server("127.0.0.2")
    net.exchangers((10, "a.example.org", "127.0.0.1"), (20, "b.example.org", "127.0.0.2"))
    carried = await net.send(seconds=3)
    assert outcome_of(carried).outcome == "delivered"
    assert (first.connections > 0, len(second.mails)) == (True, 1)
    assert carried.hop.mx_address == "127.0.0.2"


async def test_nobody_there_at_the_first_address(net: Internet) -> None:
    server = await net.mail_server("127.0.0.2")
    net.exchangers((10, "a.example.org", "127.0.0.1"), (20, "b.example.org", "127.0.0.2"))
    assert outcome_of(await net.send()).outcome == "delivered"
    assert len(server.mails) == 1


async def test_the_last_one_has_the_last_word(net: Internet) -> None:
    await net.mail_server(faults={"greeting": says("554 5.3.2 Not here")})
    await net.mail_server("127.0.0.2", {"greeting": says("421 4.3.2 Busy")})
    net.exchangers((10, "a.example.org", "127.0.0.1"), (20, "b.example.org", "127.0.0.2"))
    carried = await net.send()
    ended = outcome_of(carried)
    assert (ended.outcome, ended.phase, ended.code) == ("temporary", "greeting", 421)
    assert carried.hop.mx_address == "127.0.0.2"


async def test_a_word_about_the_recipient_is_final(net: Internet) -> None:
    """Asking another host would not make it true."""
    await net.mail_server(faults={"rcpt": says("550 5.1.1 No such user")})
    second = await net.mail_server("127.0.0.2")
    net.exchangers((10, "a.example.org", "127.0.0.1"), (20, "b.example.org", "127.0.0.2"))
    assert outcome_of(await net.send()).category == "invalid_recipient"
    assert second.connections == 0


async def test_a_connection_is_met_again(net: Internet) -> None:
    server = await net.mail_server()
    net.exchangers((10, "a.example.org", "127.0.0.1"))
    ways = net.ways()
    for _ in range(3):
        await net.send(await net.way(ways))
    assert (len(server.mails), server.connections) == (3, 1)


async def test_as_many_mails_on_a_connection_as_the_provider_likes(net: Internet) -> None:
    """R21: Apple's five."""
    server = await net.mail_server()
    net.exchangers((10, "mx01.mail.icloud.com", "127.0.0.1"))
    ways = net.ways()
    for _ in range(6):
        await net.send(await net.way(ways))
    assert (len(server.mails), server.connections) == (6, 2)


async def test_a_provider_that_is_known_to_have_tls_gets_no_clear_text(net: Internet) -> None:
    """R28: unless a route says so."""
    server = await net.mail_server()
    net.exchangers((10, "aspmx.l.google.com", "127.0.0.1"))
    assert outcome_of(await net.send()).phase == "starttls"
    assert server.mails == []
    assert outcome_of(await net.send(await net.way(tls="opportunistic"))).outcome == "delivered"


async def test_the_address_that_a_greylist_knows(net: Internet) -> None:
    """R22: where we still have it, the last one is taken again."""
    await net.mail_server()
    net.exchangers((10, "a.example.org", "127.0.0.1"))
    ways = net.ways(sources=("127.0.0.4", "127.0.0.5"))
    for ours in ("127.0.0.4", "127.0.0.5"):
        carried = await net.send(await net.way(ways, source_address=ours))
        assert carried.hop.source_address == ours
    way = await net.way(ways, source_address="192.0.2.1")  # not ours any more
    assert isinstance(way, Way)
    assert way.source_address in {"127.0.0.4", "127.0.0.5"}


# --- D52, over the wire ---


@pytest.mark.parametrize("records", [{}, {"TXT": "x"}], ids=["no name", "neither MX nor address"])
async def test_a_domain_that_is_not_there_is_looked_for_again(net: Internet, records: dict[str, str]) -> None:
    """Bounced, and the recipient suppressed, only where a later attempt finds the same, an hour after the mail came."""
    for kind, text in records.items():
        net.dns.publish(DOMAIN, kind, text)
    for attempt, hours, expected in (
        (1, 0, "temporary"),
        (1, 24, "temporary"),
        (2, 0, "temporary"),
        (2, 1, "permanent"),
    ):
        found = await net.way(attempt=attempt, hours=hours)
        assert isinstance(found, Outcome)
        said = ("domain_not_found", "5.1.2") if expected == "permanent" else ("no_answer", "4.4.4")
        assert (found.outcome, found.category, found.enhanced_code) == (expected, *said), (attempt, hours)
    await net.mail_server()
    net.exchangers((10, "a.example.org", "127.0.0.1"))
    net.clock.skipped = 61
    assert outcome_of(await net.send(await net.way(attempt=2))).outcome == "delivered"


async def test_null_mx(net: Internet) -> None:
    server = await net.mail_server()
    net.dns.publish(DOMAIN, "MX", "0 .")
    net.dns.publish(DOMAIN, "A", "127.0.0.1")
    found = await net.way()
    assert isinstance(found, Outcome)
    assert (found.code, found.enhanced_code, found.category) == (556, "5.1.10", "domain_not_found")
    assert server.connections == 0


@pytest.mark.parametrize("how", ["silent", "broken"])
async def test_a_name_server_that_fails_has_not_said_no(net: Internet, how: str) -> None:
    """The domain's own address is there: it must not be taken for the way."""
    net.dns.publish(DOMAIN, "A", "127.0.0.1")
    getattr(net.dns, how).add(DOMAIN)
    found = await net.way()
    assert isinstance(found, Outcome)
    assert (found.outcome, found.category) == ("temporary", "no_answer")


async def test_no_mx_is_the_domain_itself(net: Internet) -> None:
    server = await net.mail_server()
    net.dns.publish(DOMAIN, "A", "127.0.0.1")
    assert outcome_of(await net.send()).outcome == "delivered"
    assert len(server.mails) == 1


async def test_an_mx_that_leads_nowhere_is_not_no_mx(net: Internet) -> None:
    net.dns.publish(DOMAIN, "MX", "10 gone.example.org.")
    net.dns.publish(DOMAIN, "A", "127.0.0.1")
    found = await net.way()
    assert isinstance(found, Outcome)
    assert found.outcome == "temporary"


async def test_an_exchanger_whose_name_server_fails_hides_no_other(net: Internet) -> None:
    net.exchangers((10, "a.example.org", "127.0.0.1"), (20, "b.example.org", "127.0.0.2"))
    net.dns.broken.add("a.example.org")
    assert servers_of(await net.way()) == [("b.example.org", "127.0.0.2")]


@pytest.mark.parametrize("terse", [False, True])
async def test_aliases_are_followed(net: Internet, terse: bool) -> None:
    """Of the domain and, against the rules, of the exchanger; told at once or step by step."""
    net.dns.terse = terse
    net.dns.publish(DOMAIN, "CNAME", "other.example.net.")
    net.dns.publish("other.example.net", "MX", "10 mx.example.net.")
    net.dns.publish("mx.example.net", "CNAME", "real.example.net.")
    net.dns.publish("real.example.net", "A", "127.0.0.9")
    assert servers_of(await net.way()) == [("mx.example.net", "127.0.0.9")]


async def test_an_alias_of_itself_is_no_answer(net: Internet) -> None:
    net.dns.terse = True
    net.dns.publish(DOMAIN, "CNAME", "loop.example.org.")
    net.dns.publish("loop.example.org", "CNAME", f"{DOMAIN}.")
    found = await net.way()
    assert isinstance(found, Outcome)
    assert found.outcome == "temporary"


async def test_fifty_exchangers(net: Internet) -> None:
    net.exchangers(*((n, f"mx{n}.example.org", f"127.0.1.{n}") for n in range(1, 51)))
    assert servers_of(await net.way()) == [(f"mx{n}.example.org", f"127.0.1.{n}") for n in range(1, 6)]


async def test_equal_preference_is_shared_out(net: Internet) -> None:
    net.exchangers(*((10, f"mx{n}.example.org", f"127.0.1.{n}") for n in range(1, 6)))
    firsts = {servers_of(await net.way())[0] for _ in range(100)}
    assert len(firsts) > 1


async def test_a_question_is_asked_once(net: Internet) -> None:
    net.exchangers((10, "a.example.org", "127.0.0.1"))
    ways = net.ways()
    await asyncio.gather(*(net.way(ways) for _ in range(50)))
    await net.way()
    assert net.dns.asked.count((DOMAIN, "MX")) == 1
    net.clock.skipped = 301  # the records say 300 seconds
    await net.way()
    assert net.dns.asked.count((DOMAIN, "MX")) == 2


async def test_no_is_kept_for_a_moment_only(net: Internet) -> None:
    assert isinstance(await net.way(), Outcome)
    assert isinstance(await net.way(), Outcome)
    assert net.dns.asked.count((DOMAIN, "MX")) == 1
    net.exchangers((10, "a.example.org", "127.0.0.1"))
    net.clock.skipped = 61
    assert isinstance(await net.way(), Way)


async def test_a_silent_domain_holds_up_no_other(net: Internet) -> None:
    net.dns.silent.add("dead.example")
    net.exchangers((10, "a.example.org", "127.0.0.1"))
    waiting = [asyncio.create_task(net.resolver.exchangers("dead.example")) for _ in range(100)]
    assert isinstance(await net.way(), Way)
    assert not any(task.done() for task in waiting)
    assert set(await asyncio.gather(*waiting)) == {"failed"}


# --- D53 ---


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
async def test_no_connection_into_our_own_network(net: Internet, address: str) -> None:
    server = await net.mail_server()
    net.exchangers((10, "a.example.org", address))
    found = await net.way(net.ways(guard=Guard()))
    assert isinstance(found, Outcome)
    assert (found.outcome, found.category) == ("permanent", "rejected")
    assert server.connections == 0
