"""What TLSA records ask of a mail server's certificate, over real sockets (R28; D54; RFC 7672). Own authority, own DNS."""

import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate

from services.sender.domain.outcome import Outcome
from services.sender.ports import Carried
from tests.integration.sender.internet import DOMAIN, Internet, internet
from tests.kit.authority import Authority
from tests.kit.smtp_server import SmtpServer

MX = "mx.example.org"
SECOND = "b.example.org"
Record = Callable[..., str]


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Internet]:
    """Everything there is signed."""
    async with internet(tmp_path) as made:
        made.exchangers((10, MX, "127.0.0.1"))
        made.dns.signed |= {DOMAIN, MX, SECOND}
        yield made


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Whom nobody trusts."""
    return Authority(tmp_path)


def of_key(certificate: Certificate, usage: int = 3) -> str:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{usage} 1 1 {hashlib.sha256(key).hexdigest()}"


def of_all(certificate: Certificate, usage: int = 3) -> str:
    return f"{usage} 0 2 {hashlib.sha512(certificate.public_bytes(Encoding.DER)).hexdigest()}"


def publish(net: Internet, *records: str, host: str = MX) -> None:
    name = f"_{net.port}._tcp.{host}"
    net.dns.publish(name, "TLSA", *records)
    net.dns.signed.add(name)


async def delivered(net: Internet, server: SmtpServer) -> Carried:
    carried = await net.send()
    assert isinstance(carried.ended, Outcome)
    assert (carried.ended.outcome, len(server.mails)) == ("delivered", 1)
    return carried


async def deferred(net: Internet, server: SmtpServer) -> Outcome:
    """The mail was not sent, and may be again."""
    way = await net.way()
    ended = way if isinstance(way, Outcome) else (await net.send(way)).ended
    assert isinstance(ended, Outcome)
    assert (ended.outcome, server.mails) == ("temporary", [])
    return ended


@pytest.mark.parametrize("record", [of_key, of_all])
async def test_a_certificate_that_its_record_names(net: Internet, stranger: Authority, record: Record) -> None:
    """Whoever has signed it, for whatever name, and though its time is over."""
    server = await net.mail_server(tls=stranger.server("somebody.example", expired=True))
    publish(net, "3 1 1 " + "00" * 32, record(stranger.made["somebody.example"]))
    assert (await delivered(net, server)).hop.tls is not None


@pytest.mark.parametrize("wrong", ["another", "stripped", "handshake"])
async def test_named_and_attacked(net: Internet, stranger: Authority, wrong: str) -> None:
    """A certificate of a good authority for the right name is none that the record vouches for."""
    stranger.server(MX)
    shown = {
        "another": net.authority.server(MX),
        "stripped": None,
        "handshake": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    }
    server = await net.mail_server(tls=shown[wrong])
    publish(net, of_key(stranger.made[MX]))
    assert (await deferred(net, server)).phase == "starttls"


@pytest.mark.parametrize("record", [of_key, of_all])
@pytest.mark.parametrize("name", [MX, DOMAIN])
async def test_an_authority_that_a_record_names(net: Internet, stranger: Authority, record: Record, name: str) -> None:
    """RFC 7672, 3.2.2: for the host, or for the domain that the mail goes to."""
    server = await net.mail_server(tls=stranger.server(name))
    publish(net, record(stranger.certificate, usage=2))
    await delivered(net, server)


@pytest.mark.parametrize("wrong", ["name", "expired", "authority"])
async def test_below_an_authority_names_and_dates_count(net: Internet, stranger: Authority, wrong: str) -> None:
    other = Authority(stranger.folder) if wrong == "authority" else stranger
    shown = other.server("other.example.net" if wrong == "name" else MX, expired=wrong == "expired")
    server = await net.mail_server(tls=shown)
    publish(net, of_key(stranger.certificate, usage=2))
    assert (await deferred(net, server)).phase == "starttls"


@pytest.mark.parametrize("record", ["1 1 1 " + "ab" * 32, "3 1 9 abcd", "3 7 1 " + "ab" * 32])
async def test_records_that_nobody_can_use_ask_for_encryption_alone(
    net: Internet, stranger: Authority, record: str
) -> None:
    """RFC 7672, 2.2: any certificate; but not in the clear."""
    server = await net.mail_server(tls=stranger.server("somebody.example"))
    bare = await net.mail_server("127.0.0.2")
    publish(net, record)
    assert (await delivered(net, server)).hop.tls is not None
    net.exchangers((10, SECOND, "127.0.0.2"))
    net.clock.skipped = 400
    publish(net, record, host=SECOND)
    await deferred(net, bare)


async def test_records_that_do_not_come_stop_the_mail(net: Internet) -> None:
    """Bogus, or withheld: SERVFAIL is what a validating resolver says of a forgery."""
    server = await net.mail_server(tls=net.authority.server(MX))
    net.dns.broken.add(f"_{net.port}._tcp.{MX}")
    assert (await deferred(net, server)).enhanced_code == "4.7.5"
    assert server.connections == 0


async def test_a_host_whose_records_do_not_come_is_passed_over(net: Internet) -> None:
    first, second = await net.mail_server(), await net.mail_server("127.0.0.2")
    net.exchangers((10, MX, "127.0.0.1"), (20, SECOND, "127.0.0.2"))
    net.dns.broken.add(f"_{net.port}._tcp.{MX}")
    await delivered(net, second)
    assert first.connections == 0


@pytest.mark.parametrize("unsigned", [DOMAIN, MX, "records", "setting"])
async def test_what_nobody_vouches_for_asks_for_nothing(net: Internet, stranger: Authority, unsigned: str) -> None:
    """MX, address and record must all be signed, and the resolver one that is trusted."""
    server = await net.mail_server(tls=stranger.server("somebody.example"))
    publish(net, "3 1 1 " + "ab" * 32)
    net.dns.signed.discard(f"_{net.port}._tcp.{MX}" if unsigned == "records" else unsigned)
    way = await net.way(net.ways(dns_validates=unsigned != "setting"))
    carried = await net.send(way)
    assert isinstance(carried.ended, Outcome)
    assert (carried.ended.outcome, len(server.mails)) == ("delivered", 1)


async def test_dane_goes_before_mta_sts(net: Internet, stranger: Authority) -> None:
    """D54; RFC 8461, 2: a policy that names other hosts, and wants a certificate that nobody has, is not asked."""
    server = await net.mail_server(tls=stranger.server("somebody.example"))
    net.policy("enforce", "mx.example.net")
    publish(net, of_key(stranger.made["somebody.example"]))
    await delivered(net, server)


async def test_mta_sts_does_not_make_up_for_dane(net: Internet, stranger: Authority) -> None:
    """A good certificate by its name is none that the record vouches for."""
    stranger.server(MX)
    server = await net.mail_server(tls=net.authority.server(MX))
    net.policy("enforce", MX)
    publish(net, of_key(stranger.made[MX]))
    await deferred(net, server)
