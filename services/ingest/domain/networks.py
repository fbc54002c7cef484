"""Where a request comes from: the client's address behind proxies, the networks a key is bound to, and neighbours.

Forwarded addresses are claims of whoever sent them: they count only as far as trusted proxies vouch for them.
It must never resolve a name.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

# One subscriber has a whole /64 of IPv6: counting single addresses would let him start afresh 2**64 times.
NEIGHBOURS_V6 = 64
MAX_HOPS = 20  # of X-Forwarded-For: a longer list is somebody's joke


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, with or without a port as some proxies write it; IPv4 in IPv6 is IPv4. None for anything else."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ip_address(host)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped or IPv6Address(int(found))  # without its zone
    return found


def parse_network(text: str) -> Network:
    """A CIDR block, or one address. Raises ValueError, also where bits are set beyond the prefix."""
    return ip_network(text.strip())


def holds(networks: Iterable[Network], address: str) -> bool:
    """Whether `address` lies in one of them; an unknown address lies nowhere."""
    found = parse_address(address)
    return found is not None and any(found in network for network in networks)


def within(inner: Network, outer: Iterable[Network]) -> bool:
    """Whether all of `inner` lies in one of `outer`."""
    return any(_part_of(inner, network) for network in outer)


def client_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address: the last one that no trusted proxy has, going back from our peer.

    `forwarded` are the values of X-Forwarded-For in their order; without a trusted peer they are not even read.
    """
    if not trusted or not holds(trusted, peer):
        return peer
    hops = [hop for value in forwarded for hop in value.split(",")][-MAX_HOPS:]
    client = peer
    for hop in reversed(hops):
        found = parse_address(hop)
        if found is None:  # the trusted proxy saw no address: the last one known to be good must do
            break
        client = str(found)
        if not holds(trusted, client):
            break
    return client


def neighbourhood(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the /64 of an IPv6 address."""
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), NEIGHBOURS_V6), strict=False))
    return str(found) if found is not None else address


def _part_of(inner: Network, outer: Network) -> bool:
    match inner, outer:
        case (IPv4Network(), IPv4Network()) | (IPv6Network(), IPv6Network()):
            return inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version: matched in the line above
        case _:
            return False
