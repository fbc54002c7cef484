"""Encryption on the way to MX: opportunistic, demanded, and by a domain's policy (R28; D54; RFC 8461). Own authority."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.sender.domain.outcome import Outcome
from services.sender.ports import Carried, Way
from tests.integration.sender.internet import DOMAIN, Internet, internet
from tests.kit.authority import Authority
from tests.kit.smtp_server import SmtpServer

MX = "mx.example.org"


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Internet]:
    async with internet(tmp_path) as made:
        made.exchangers((10, MX, "127.0.0.1"))
        yield made


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Whom nobody trusts."""
    return Authority(tmp_path)


def outcome_of(carried: Carried) -> Outcome:
    assert isinstance(carried.ended, Outcome)
    return carried.ended


async def deferred(net: Internet, server: SmtpServer, way: Way | Outcome | None = None) -> Outcome:
    """The mail was not sent, and may be again."""
    ended = outcome_of(await net.send(way))
    assert ended.outcome == "temporary"
    assert server.mails == []
    return ended


# --- without a policy ---


async def test_opportunistic_takes_any_certificate(net: Internet, stranger: Authority) -> None:
    server = await net.mail_server(tls=stranger.server("somebody.example"))
    carried = await net.send()
    assert (outcome_of(carried).outcome, len(server.mails)) == ("delivered", 1)
    assert carried.hop.tls is not None


async def test_opportunistic_goes_on_in_the_clear(net: Internet) -> None:
    """D54: STARTTLS that nobody offers, and a handshake that fails."""
    server = await net.mail_server(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # has no certificate to show
    carried = await net.send()
    assert (outcome_of(carried).outcome, carried.hop.tls, len(server.mails)) == ("delivered", None, 1)


async def test_required_takes_the_certificate_of_the_exchanger(net: Internet) -> None:
    server = await net.mail_server(tls=net.authority.server(MX))
    carried = await net.send(await net.way(tls="required"))
    assert (outcome_of(carried).outcome, len(server.mails)) == ("delivered", 1)
    assert carried.hop.tls is not None


@pytest.mark.parametrize("wrong", ["name", "authority", "expired", "stripped"])
async def test_required_or_not_at_all(net: Internet, stranger: Authority, wrong: str) -> None:
    shown = {
        "name": net.authority.server("other.example.org"),
        "authority": stranger.server(MX),
        "expired": net.authority.server(MX, expired=True),
        "stripped": None,
    }[wrong]
    server = await net.mail_server(tls=shown)
    ended = await deferred(net, server, await net.way(tls="required"))
    assert ended.phase == "starttls"


async def test_the_next_exchanger_may_have_what_is_required(net: Internet) -> None:
    first = await net.mail_server()
    second = await net.mail_server("127.0.0.2", tls=net.authority.server("b.example.org"))
    net.exchangers((10, MX, "127.0.0.1"), (20, "b.example.org", "127.0.0.2"))
    assert outcome_of(await net.send(await net.way(tls="required"))).outcome == "delivered"
    assert (len(first.mails), len(second.mails)) == (0, 1)


# --- with one ---


async def test_enforced_and_kept(net: Internet) -> None:
    server = await net.mail_server(tls=net.authority.server(MX))
    net.policy("enforce", "*.example.org")
    carried = await net.send()
    assert (outcome_of(carried).outcome, len(server.mails)) == ("delivered", 1)
    assert carried.hop.tls is not None
    assert net.policy_host.asked == [f"mta-sts.{DOMAIN}/.well-known/mta-sts.txt"]


@pytest.mark.parametrize("wrong", ["authority", "stripped"])
async def test_enforced_and_attacked(net: Internet, stranger: Authority, wrong: str) -> None:
    server = await net.mail_server(tls=stranger.server(MX) if wrong == "authority" else None)
    net.policy("enforce", MX)
    await deferred(net, server)


async def test_an_exchanger_that_the_policy_does_not_name(net: Internet) -> None:
    """A forged MX record leads nowhere, though its server has a good certificate."""
    forged = await net.mail_server(tls=net.authority.server("mx.attacker.example"))
    good = await net.mail_server("127.0.0.2", tls=net.authority.server(MX))
    net.exchangers((10, "mx.attacker.example", "127.0.0.1"), (20, MX, "127.0.0.2"))
    net.policy("enforce", MX)
    assert outcome_of(await net.send()).outcome == "delivered"
    assert (forged.connections, len(good.mails)) == (0, 1)


async def test_none_that_the_policy_names(net: Internet) -> None:
    server = await net.mail_server(tls=net.authority.server(MX))
    net.policy("enforce", "mx.example.net")
    found = await net.way()
    assert isinstance(found, Outcome)
    assert (found.outcome, found.enhanced_code) == ("temporary", "4.7.5")
    assert "MTA-STS" in (found.reply or "")
    assert server.connections == 0


@pytest.mark.parametrize("mode", ["testing", "none"])
async def test_a_policy_that_is_not_enforced_stops_nothing(net: Internet, stranger: Authority, mode: str) -> None:
    server = await net.mail_server(tls=stranger.server(MX))
    net.policy(mode, "mx.example.net")
    assert outcome_of(await net.send()).outcome == "delivered"
    assert len(server.mails) == 1


async def test_a_policy_outlives_what_keeps_it_from_being_fetched(net: Internet) -> None:
    server = await net.mail_server()  # offers no TLS
    net.policy("enforce", MX)
    await deferred(net, server)
    net.dns.publish(f"_mta-sts.{DOMAIN}", "TXT", "v=STSv1; id=2;")
    net.policy_host.text = None
    net.clock.skipped = 7200
    await deferred(net, server)
    assert len(net.policy_host.asked) == 2
    del net.dns.records[f"_mta-sts.{DOMAIN}", "TXT"]
    net.clock.skipped = 14_400
    await deferred(net, server)


async def test_a_policy_outlives_the_process(net: Internet) -> None:
    """Else an attacker would only have to wait for a restart, and hold the policy back."""
    server = await net.mail_server()  # offers no TLS
    net.policy("enforce", MX)
    await deferred(net, server)
    net.policy_host.text = None
    await net.restart()
    await deferred(net, server)
    assert len(net.policy_host.asked) == 1, "it is fresh"
    del net.dns.records[f"_mta-sts.{DOMAIN}", "TXT"]
    net.clock.skipped = 604_801
    await net.restart()
    assert outcome_of(await net.send()).outcome == "delivered", "its time is over"


@pytest.mark.parametrize("content", [b"", b"[{", b'[{"domain": 1}]'])
async def test_a_file_that_is_broken_stops_nothing(net: Internet, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mta-sts.json").write_bytes(content)
    await net.restart()
    server = await net.mail_server()
    net.policy("enforce", MX)
    await deferred(net, server)


async def test_a_new_policy_takes_over(net: Internet) -> None:
    server = await net.mail_server()
    net.policy("enforce", MX)
    await deferred(net, server)
    net.policy("none", policy_id="2")
    net.clock.skipped = 7200
    assert outcome_of(await net.send()).outcome == "delivered"


async def test_a_policy_ends_some_day(net: Internet) -> None:
    server = await net.mail_server()
    net.policy("enforce", MX)
    await deferred(net, server)
    net.policy_host.text = None
    net.clock.skipped = 604_801
    assert outcome_of(await net.send()).outcome == "delivered"


async def test_a_policy_is_fetched_once(net: Internet) -> None:
    net.policy("enforce", MX)
    for seconds in (0, 70, 140, 3600):
        net.clock.skipped = seconds
        await net.way()
    assert len(net.policy_host.asked) == 1


@pytest.mark.parametrize("wrong", ["redirect", "long", "malformed", "broken", "private", "certificate"])
async def test_what_is_no_policy(net: Internet, wrong: str) -> None:
    """It is passed over, and not fetched again at once."""
    server = await net.mail_server()
    net.policy("enforce", "mx.example.net")
    text = net.policy_host.text or ""
    match wrong:
        case "redirect":
            net.policy_host.redirect = f"https://mta-sts.{DOMAIN}:{net.policy_host.port}/.well-known/mta-sts.txt?again"
        case "long":
            net.policy_host.text = text + "x" * 65_536
        case "malformed":
            net.policy_host.text = "<html>"
        case "broken":
            net.policy_host.text = None
        case "private":
            net.dns.publish(f"mta-sts.{DOMAIN}", "A", "10.0.0.1")
        case _:
            net.dns.publish(f"_mta-sts.{MX}", "TXT", "v=STSv1; id=1;")
            net.dns.publish(f"mta-sts.{MX}", "A", "127.0.0.1")
            assert await net.policies.of(MX) is None  # the host's certificate is for another name
            return
    assert outcome_of(await net.send()).outcome == "delivered"
    assert len(server.mails) == 1
    asked = len(net.policy_host.asked)
    assert asked == (0 if wrong == "private" else 1)
    await net.way()
    assert len(net.policy_host.asked) == asked
