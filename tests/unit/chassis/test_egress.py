"""The SSRF corpus (D91, R31): what a customer may not make us call."""

import pytest

from chassis.egress import refusal_of_address, refusal_of_host, refusal_of_url

REFUSED_URLS = [
    "",
    "example.com",
    "//example.com/",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "https://",
    "https:///path",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com:80/",
    "https://example.com:22/",
    "https://example.com:99999/",
    "https://example.com:x/",
    "https://example.com/#here",
    "https://example.com/#",
    "https://example.com/ space",
    "https://example.com/\r\nHost: evil",
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://127.0.0.1./",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fec0::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[ff02::1]/",
    "https://[not-an-address]/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://a.localhost/",
    "https://localhost./",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://intranet/",
    "https://example。com/",
    "https://127。0。0。1/",
    "https://éxample.com/",
    "https://ex%61mple.com/",
    "https://-example.com/",
    "https://example..com/",
    "https://" + "a" * 2048 + ".com/",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_hostile_urls_are_refused(url: str) -> None:
    assert refusal_of_url(url, allow_loopback=False) is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example.com/hooks/mail",
        "https://shop.example.com:8443/hooks?a=b&c=%20",
        "https://SHOP.example.com:443/",
        "https://xn--bcher-kva.example/",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/hook",
    ],
)
def test_public_https_urls_are_called(url: str) -> None:
    assert refusal_of_url(url, allow_loopback=False) is None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/x", "http://localhost:1/", "https://[::1]:2/", "http://127.9.9.9/"]
)
def test_loopback_only_where_it_is_allowed(url: str) -> None:
    assert refusal_of_url(url, allow_loopback=True) is None
    assert refusal_of_url(url, allow_loopback=False) is not None


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://10.0.0.1/", "http://u@localhost/", "https://example.com:80/"]
)
def test_allowing_loopback_allows_nothing_else(url: str) -> None:
    assert refusal_of_url(url, allow_loopback=True) is not None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_addresses_of_loopback(address: str) -> None:
    assert refusal_of_address(address, allow_loopback=True) is None
    assert refusal_of_address(address, allow_loopback=False) is not None


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::", "2001::1", "fec0::1", "::", "::10.0.0.1", "ff02::1",
     "0.0.0.0", "224.0.0.1", "240.0.0.1", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "example.com", ""],
)  # fmt: skip
@pytest.mark.parametrize("allow_loopback", [True, False])
def test_addresses_that_are_not_public(address: str, allow_loopback: bool) -> None:
    assert refusal_of_address(address, allow_loopback=allow_loopback) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert refusal_of_address(address, allow_loopback=False) is None


@pytest.mark.parametrize("host", ["smtp.example.net", "93.184.216.34", "2606:2800:220:1::1"])
def test_hosts_out_there(host: str) -> None:
    assert refusal_of_host(host, allow_private=False) is None
    assert refusal_of_host(host, allow_private=True) is None


@pytest.mark.parametrize("host", ["localhost", "relay", "mail.internal", "10.0.0.5", "127.0.0.1", "::1", "fd00::5"])
def test_hosts_next_door(host: str) -> None:
    assert refusal_of_host(host, allow_private=False) is not None
    assert refusal_of_host(host, allow_private=True) is None


@pytest.mark.parametrize(
    "host",
    ["", "a b", "127.1", "0x7f000001", "0.0.0.0", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "ff02::1"],
)
def test_hosts_nowhere(host: str) -> None:
    assert refusal_of_host(host, allow_private=False) is not None
    assert refusal_of_host(host, allow_private=True) is not None
