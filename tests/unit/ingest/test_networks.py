"""Whose address it is: claims of proxies, networks of keys, and neighbours (R13, R14)."""

import pytest

from services.ingest.domain.networks import client_of, holds, neighbourhood, parse_network

TRUSTED = [parse_network("10.0.0.0/8"), parse_network("fd00::/8")]
CLIENT, PROXY = "203.0.113.9", "10.1.1.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (CLIENT, ["198.51.100.1"], CLIENT),  # the peer is no proxy of ours: what it claims is not read
        (PROXY, [], PROXY),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"198.51.100.1, {CLIENT}"], CLIENT),  # what stands before it, the client wrote itself
        (PROXY, ["198.51.100.1", CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, 10.2.2.2"], CLIENT),
        (PROXY, ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (PROXY, ["2001:db8::7"], "2001:db8::7"),
        (PROXY, [f"::ffff:{CLIENT}"], CLIENT),
        (f"::ffff:{PROXY}", [CLIENT], CLIENT),
        ("fd00::1", [CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, unknown"], PROXY),
        (PROXY, [f"{CLIENT}, "], PROXY),
        (PROXY, [", ".join([CLIENT, *["10.9.9.9"] * 1000])], "10.9.9.9"),
        ("unknown", [CLIENT], "unknown"),
    ],
)
def test_the_client_behind_proxies(peer: str, forwarded: list[str], client: str) -> None:
    assert client_of(peer, forwarded, TRUSTED) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_of(PROXY, [CLIENT], []) == PROXY


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_neighbours(address: str, counted: str) -> None:
    assert neighbourhood(address) == counted


def test_networks() -> None:
    blocks = [parse_network("192.0.2.0/24"), parse_network("2001:db8::/32"), parse_network("198.51.100.7")]
    assert all(holds(blocks, address) for address in ("192.0.2.255", "2001:db8:ffff::", "198.51.100.7"))
    assert not any(holds(blocks, address) for address in ("192.0.3.0", "2001:db9::", "198.51.100.8", "x"))
    for text in ("192.0.2.1/24", "192.0.2", "", "x"):
        with pytest.raises(ValueError, match=r"does not appear|has host bits"):
            parse_network(text)
