"""Where requests of our own may go when a customer names the place: the guard against SSRF, as pure rules.

Asked twice: for the URL when it is saved, and for every address a name resolves to, right before connecting to exactly
that address. It must never resolve a name itself. `ipaddress.is_global` alone is no guard: it lets NAT64, 6to4,
site-local, IPv4-compatible and multicast addresses pass (reference: measured).
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

MAX_URL_CHARACTERS = 2048
PORTS = frozenset({443, 8443})

# Letters, digits, hyphens; full-width dots, percent signs and Unicode look-alikes never get as far as a resolver.
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# What an operating system also reads as an IPv4 address: 127.1, 2130706433, 0x7f000001, 0177.0.0.1.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\<>\"^`{|}]")
_PRIVATE_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "arpa", "onion", "corp", "home")
_IPV6_GLOBAL = IPv6Network("2000::/3")
# Inside 2000::/3, but each carries or tunnels to an IPv4 address: Teredo and its neighbours, 6to4.
_IPV6_TUNNELS = (IPv6Network("2001::/23"), IPv6Network("2002::/16"))


def refusal_of_url(url: str, *, allow_loopback: bool) -> str | None:
    """Why no request may be sent to `url`, or None. `allow_loopback` admits http and any port, on loopback only."""
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or _UNSAFE.search(url):
        return f"a URL is at most {MAX_URL_CHARACTERS} ASCII characters, without spaces, controls, backslashes, quotes"
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        return "not a URL"
    loopback = allow_loopback and _is_loopback_host(host)
    return (
        _refusal_of_parts(parts, url)
        or (None if loopback else _refusal_of_origin(parts.scheme, port))
        or (None if loopback else _refusal_of_host(host, bracketed="[" in parts.netloc))
    )


def refusal_of_host(host: str, *, allow_private: bool) -> str | None:
    """Why nothing may connect to `host` (a name in lower case, or an address without brackets), or None.

    `allow_private` admits private networks, loopback and names of one label: for relays next door.
    """
    numeric = ":" in host or _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) is not None
    if not allow_private:
        return _refusal_of_host(host, bracketed=":" in host)
    if not numeric:
        return None if _HOST.fullmatch(host) else "not a host name"
    try:
        ip = ip_address(host)
    except ValueError:
        return "not an IP address in its usual form"
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    # Link-local addresses serve a cloud machine its own secrets, and are no relay's.
    no_host = ip.is_multicast or ip.is_unspecified or ip.is_reserved or ip.is_link_local
    return "no mail server's address" if no_host and not ip.is_loopback else None


def _refusal_of_parts(parts: SplitResult, url: str) -> str | None:
    if parts.scheme not in {"https", "http"}:
        return "only https URLs are called"
    if "@" in parts.netloc:
        return "a URL with a user name or password in it is not called"
    return "a URL with a fragment is not called" if "#" in url else None


def _refusal_of_origin(scheme: str, port: int | None) -> str | None:
    if scheme != "https":
        return "only https URLs are called"
    return "only ports 443 and 8443 are called" if port is not None and port not in PORTS else None


def _refusal_of_host(host: str, *, bracketed: bool) -> str | None:
    if bracketed or _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        return refusal_of_address(host, allow_loopback=False)
    if not _HOST.fullmatch(host):
        return "not a host name"
    if "." not in host:
        return "a host name needs a dot"
    private = any(host == name or host.endswith(f".{name}") for name in _PRIVATE_NAMES)
    return "the host is a private name" if private else None


def refusal_of_address(address: str, *, allow_loopback: bool) -> str | None:
    """Why nothing may connect to this IP address (as text), or None."""
    try:
        ip = ip_address(address)
    except (AddressValueError, ValueError):
        return "not an IP address in its usual form"
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return None if allow_loopback else "a loopback address"
    public = _is_public_v4(ip) if isinstance(ip, IPv4Address) else _is_public_v6(ip)
    return None if public else "not a public address"


def _is_public_v4(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _is_public_v6(ip: IPv6Address) -> bool:
    tunnel = any(ip in network for network in _IPV6_TUNNELS)
    return ip in _IPV6_GLOBAL and ip.scope_id is None and ip.is_global and not tunnel


def _is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
