"""The HTTP side alone, against real sockets (R31; D91 to D94, D98)."""

import gzip
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from services.webhooks.adapters.http import AddressInfo, HttpPoster, PublicResolver, RefusedAddress
from services.webhooks.domain.outcome import Answered, NoAnswer, Reply
from tests.kit.broker import free_ports
from tests.kit.webhook_receiver import DISCONNECT, HANG, Answer, Drip, WebhookReceiver, redirect

HEADERS = {"webhook-id": "evt_1"}
BODY = '{"timestamp": "x",  "spaced":"Grüße"}'.encode()


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as entered:
        yield entered


@pytest.fixture
async def poster() -> AsyncIterator[HttpPoster]:
    """As on one machine: loopback is allowed, and patience is short."""
    made = HttpPoster(allow_loopback=True, total=1.0, connect=0.5)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def production() -> AsyncIterator[HttpPoster]:
    made = HttpPoster(allow_loopback=False, total=1.0, connect=0.5, look_up=leads_to("127.0.0.1"))
    await made.start()
    yield made
    await made.stop()


def leads_to(*addresses: str) -> Any:
    """A name service of the test's own."""

    def look_up(host: str, port: int, family: int) -> Sequence[AddressInfo]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return look_up


async def test_exactly_the_stored_bytes_arrive(poster: HttpPoster, receiver: WebhookReceiver) -> None:
    receiver.script("/a", Answer(201, body=b"danke"))
    reply = await poster.post(receiver.url("/a?b=%2Fc%20d"), HEADERS, BODY)
    assert reply == Answered(201, None, "danke")
    (request,) = receiver.received
    assert (request.method, request.body) == ("POST", BODY)
    assert request.headers["webhook-id"] == "evt_1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "Sendarix-Webhooks/1"
    assert request.headers["content-length"] == str(len(BODY))


LOOPBACK = [
    "http://127.0.0.1:{port}/", "http://127.1:{port}/", "http://2130706433:{port}/", "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/", "http://0177.0.0.1:{port}/", "http://0:{port}/", "http://0.0.0.0:{port}/",
    "http://[::1]:{port}/", "http://[::]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/", "http://[2002:7f00:1::]:{port}/", "http://[fec0::1]:{port}/",
    "http://localhost:{port}/", "http://localhost.:{port}/", "http://a.localhost:{port}/", "http://127.0.0.1.:{port}/",
    "http://127。0。0。1:{port}/", "http://１２７.0.0.1:{port}/", "http://user@127.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@example.com/", "http://example.com:{port}/",
    "https://127.0.0.1:{port}/", "https://localhost:{port}/", "https://example.com:{port}/", "https://169.254.169.254/",
    "https://metadata.google.internal/", "https://example.com:8443/", "https://example.com/", "http://[::1%25lo]:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("url", LOOPBACK)
async def test_nothing_reaches_loopback_in_production(
    url: str, production: HttpPoster, receiver: WebhookReceiver
) -> None:
    """D91. Names resolve to loopback here; no connection is made to it."""
    reply = await production.post(url.format(port=receiver.port), HEADERS, BODY)
    assert isinstance(reply, NoAnswer)
    assert reply.kind == "refused"
    assert receiver.received == []


@pytest.mark.parametrize("url", [url for url in LOOPBACK if "8443" in url or url == "https://example.com/"])
async def test_it_is_the_address_that_is_refused_not_the_name(url: str, production: HttpPoster) -> None:
    reply = await production.post(url, HEADERS, BODY)
    assert reply == NoAnswer("refused", "a loopback address")


async def test_a_name_that_changes_its_mind_is_judged_each_time() -> None:
    """D92: public first, then loopback."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"], ["10.0.0.1", "93.184.216.34", "::1"]])

    def look_up(host: str, port: int, family: int) -> Sequence[AddressInfo]:
        found: Sequence[AddressInfo] = leads_to(*next(answers))(host, port, family)
        return found

    resolver = PublicResolver(look_up, allow_loopback=False)
    assert [found["host"] for found in await resolver.resolve("rebind.test", 443)] == ["93.184.216.34"]
    with pytest.raises(RefusedAddress, match="loopback"):
        await resolver.resolve("rebind.test", 443)
    assert [found["host"] for found in await resolver.resolve("rebind.test", 443)] == ["93.184.216.34"]
    await resolver.close()


async def test_d92_a_call_goes_to_the_address_that_was_judged_for_nobody_asks_again(receiver: WebhookReceiver) -> None:
    """The name's second answer would lead elsewhere; there is no second question, neither of us nor of aiohttp."""
    asked: list[str] = []

    def look_up(host: str, port: int, family: int) -> Sequence[AddressInfo]:
        asked.append(host)
        found: Sequence[AddressInfo] = leads_to("127.0.0.1" if len(asked) == 1 else "192.0.2.1")(host, port, family)
        return found

    poster = HttpPoster(allow_loopback=True, total=1.0, connect=0.5, look_up=look_up)
    await poster.start()
    reply = await poster.post(f"http://localhost:{receiver.port}/a", HEADERS, BODY)
    await poster.stop()
    assert reply == Answered(204, None, "")
    assert (asked, receiver.received[0].headers["host"]) == (["localhost"], f"localhost:{receiver.port}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int, poster: HttpPoster, receiver: WebhookReceiver) -> None:
    """D93."""
    receiver.script("/a", redirect(receiver.url("/inside"), status))
    reply = await poster.post(receiver.url("/a"), HEADERS, BODY)
    assert isinstance(reply, Answered)
    assert reply.status == status
    assert [request.path for request in receiver.received] == ["/a"]


async def test_one_that_hangs_is_left_in_time(poster: HttpPoster, receiver: WebhookReceiver) -> None:
    """D94."""
    receiver.script("/a", HANG)
    assert await poster.post(receiver.url("/a"), HEADERS, BODY) == NoAnswer("timeout", "no answer in time")


async def test_one_that_drips_its_answer_has_answered(poster: HttpPoster, receiver: WebhookReceiver) -> None:
    """D94: the status is there; the body is left when the time is over."""
    receiver.script("/a", Drip(b"drip ", pause=0.1))
    reply = await poster.post(receiver.url("/a"), HEADERS, BODY)
    assert isinstance(reply, Answered)
    assert reply.status == 200
    assert reply.text.startswith("drip drip")


async def test_a_flood_is_read_for_64_kb_and_kept_for_16(poster: HttpPoster, receiver: WebhookReceiver) -> None:
    """D94: an endless body ends with its connection, long before the time is over."""
    receiver.script("/a", Drip(b"x" * 1_000_000, pause=0))
    reply = await poster.post(receiver.url("/a"), HEADERS, BODY)
    assert reply == Answered(200, None, "x" * 16 * 1024)


async def test_a_bomb_is_not_unpacked(poster: HttpPoster, receiver: WebhookReceiver) -> None:
    """D94."""
    bomb = gzip.compress(b"x" * 10_000_000)
    receiver.script("/a", Answer(200, {"content-encoding": "gzip"}, bomb))
    reply = await poster.post(receiver.url("/a"), HEADERS, BODY)
    assert isinstance(reply, Answered)
    assert (reply.status, reply.text[0], "x" * 100 in reply.text) == (200, "\x1f", False)


@pytest.mark.parametrize("headers", [{"x-a": "y" * 1_000_000}, {f"x-{n}": "y" for n in range(1000)}])
async def test_a_megabyte_of_headers_is_no_answer(
    headers: dict[str, str], poster: HttpPoster, receiver: WebhookReceiver
) -> None:
    """D94."""
    receiver.script("/a", Answer(200, headers))
    reply = await poster.post(receiver.url("/a"), HEADERS, BODY)
    assert isinstance(reply, NoAnswer)
    assert reply.kind == "malformed"


async def test_what_is_not_there_and_what_hangs_up(poster: HttpPoster, receiver: WebhookReceiver) -> None:
    (closed,) = free_ports(1)
    assert kind_of(await poster.post(f"http://127.0.0.1:{closed}/", HEADERS, BODY)) == "connect"
    receiver.script("/a", DISCONNECT)
    assert kind_of(await poster.post(receiver.url("/a"), HEADERS, BODY)) == "disconnected"
    assert kind_of(await poster.post(f"https://127.0.0.1:{receiver.port}/", HEADERS, BODY)) == "tls"


async def test_a_name_that_does_not_resolve() -> None:
    def unknown(host: str, port: int, family: int) -> Sequence[AddressInfo]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    poster = HttpPoster(allow_loopback=False, look_up=unknown)
    await poster.start()
    assert kind_of(await poster.post("https://nowhere.example.com/", HEADERS, BODY)) == "dns"
    await poster.stop()


async def test_proxies_and_netrc_of_the_environment_are_ignored(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """D98."""
    async with WebhookReceiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        poster = HttpPoster(allow_loopback=True)
        await poster.start()
        await poster.post(receiver.url("/a"), HEADERS, BODY)
        await poster.stop()
        assert proxy.received == []
    assert "authorization" not in receiver.received[0].headers


def kind_of(reply: Reply) -> str:
    return reply.kind if isinstance(reply, NoAnswer) else f"answered {reply.status}"
