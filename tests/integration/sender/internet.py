"""A small internet on loopback: a name server, mail servers of one port at different addresses, and a sender's way there."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from aiohttp import web

from chassis.clock import SystemClock
from schemas.deliveries import Delivery
from schemas.mail import Tls
from services.sender.adapters.dane import DaneRecords
from services.sender.adapters.direct import DirectWays
from services.sender.adapters.mta_sts import StsPolicies
from services.sender.adapters.resolver import CachedResolver
from services.sender.adapters.smtp import Limits, SmtpCarrier
from services.sender.adapters.smtp_setup import SetUp
from services.sender.domain.mime import Mail
from services.sender.domain.mx import Guard
from services.sender.domain.outcome import Outcome
from services.sender.domain.shaping import of_provider
from services.sender.ports import Carried, Stop, Way
from tests.kit.authority import Authority
from tests.kit.dns_server import DnsServer, dns_server
from tests.kit.senders import delivery
from tests.kit.smtp_server import At, Fault, SmtpServer, script_of, smtp_server

DOMAIN = "example.org"
MAIL = Mail("shop@example.com", "ada@example.org", b"Subject: x\r\n\r\nHello\r\n", smtputf8=False)
LOOPBACK = Guard(allowed=(ip_network("127.0.0.0/8"),))
LIMITS = Limits(reply_timeout=5, messages_per_connection=100, idle=30)


class SkippingClock(SystemClock):
    """Goes on, and may be put forward."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    def now_ms(self) -> int:
        return super().now_ms() + round(self.skipped * 1000)


class OpenGate:
    async def settle(self) -> None:
        """Nothing to wait for."""

    def before_data(self) -> Stop | None:
        return None

    def before_body(self) -> Stop | None:
        return None


@dataclass(slots=True)
class Seen:
    """`services.sender.adapters.direct.Destinations`."""

    groups: dict[str, str] = field(default_factory=dict)

    def seen(self, destination: str, group: str, mx_hosts: Sequence[str]) -> None:
        del mx_hosts
        self.groups[destination] = group


@dataclass(slots=True)
class PolicyHost:
    """Serves MTA-STS policies over HTTPS, whatever host is asked for."""

    port: int = 0
    text: str | None = None  # None: it is broken
    redirect: str | None = None
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.host.partition(':')[0]}{request.path}")
        if self.redirect is not None:
            raise web.HTTPFound(self.redirect)
        if self.text is None:
            return web.Response(status=500)
        return web.Response(text=self.text)


@dataclass(slots=True)
class Internet:
    dns: DnsServer
    authority: Authority
    policy_host: PolicyHost
    clock: SkippingClock
    resolver: CachedResolver
    new_policies: Callable[[], StsPolicies]
    policies: StsPolicies
    carrier: SmtpCarrier
    seen: Seen
    port: int = 0
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def mail_server(
        self,
        address: str = "127.0.0.1",
        faults: Mapping[At, Fault] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> SmtpServer:
        """All at the same port, which the first one finds."""
        server = await self._stack.enter_async_context(
            smtp_server(script_of(faults or {}), address=address, port=self.port, tls=tls)
        )
        self.port = server.port
        return server

    def exchangers(self, *hosts: tuple[int, str, str]) -> None:
        """Preference, name and address of each."""
        self.dns.publish(DOMAIN, "MX", *(f"{preference} {name}." for preference, name, _ in hosts))
        for _, name, address in hosts:
            self.dns.publish(name, "A", address)

    def policy(self, mode: str, *mx: str, policy_id: str = "1") -> None:
        self.dns.publish(f"_mta-sts.{DOMAIN}", "TXT", f"v=STSv1; id={policy_id};")
        self.dns.publish(f"mta-sts.{DOMAIN}", "A", "127.0.0.1")
        patterns = "".join(f"mx: {pattern}\r\n" for pattern in mx)
        self.policy_host.text = f"version: STSv1\r\nmode: {mode}\r\n{patterns}max_age: 604800\r\n"

    async def restart(self) -> None:
        """As far as policies are concerned."""
        await self.policies.stop()
        self.policies = self.new_policies()
        await self.policies.start()

    def ways(self, guard: Guard = LOOPBACK, sources: Sequence[str] = (), *, dns_validates: bool = True) -> DirectWays:
        dane = DaneRecords(self.resolver, port=self.port, vouches=dns_validates)
        ways = (self.resolver, dane, self.policies, self.seen, guard, self.clock)
        return DirectWays(*ways, port=self.port, sources=sources)

    async def way(
        self,
        ways: DirectWays | None = None,
        *,
        tls: Tls | None = None,
        source_address: str | None = None,
        attempt: int = 1,
        hours: int = 0,
    ) -> Way | Outcome:
        """`hours`: since the mail came."""
        item: Delivery = delivery(recipient=f"ada@{DOMAIN}", attempt=attempt)
        item = item.model_copy(
            update={
                "path": "mx:main",
                "tls": tls,
                "source_address": source_address,
                "created_at_ms": item.created_at_ms - hours * 3_600_000,
            }
        )
        return await (ways or self.ways()).of("mx:main", item)

    async def send(self, way: Way | Outcome | None = None, seconds: float = 10) -> Carried:
        found = way if way is not None else await self.way()
        assert isinstance(found, Way), found
        by = asyncio.get_running_loop().time() + seconds
        return await self.carrier.carry(found, MAIL, OpenGate(), dot_by=by)


@asynccontextmanager
async def internet(folder: Path) -> AsyncIterator[Internet]:
    authority, clock, policy_host = Authority(folder), SkippingClock(), PolicyHost()
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(dns_server())
        resolver = CachedResolver([("127.0.0.1", dns.port)], clock, within=1.0, one_try=0.4)
        await stack.enter_async_context(_served(policy_host, authority.server(f"mta-sts.{DOMAIN}")))

        def policies() -> StsPolicies:
            file, trust = folder / "mta-sts.json", authority.client()
            return StsPolicies(resolver, LOOPBACK, clock, file, port=policy_host.port, trust=trust)

        carrier = SmtpCarrier(
            SetUp("sender.test", trust=authority.client()), LIMITS, lambda way: of_provider(way.provider_group)
        )
        stack.push_async_callback(carrier.stop)
        net = Internet(
            dns, authority, policy_host, clock, resolver, policies, policies(), carrier, Seen(), _stack=stack
        )
        await net.policies.start()
        stack.push_async_callback(lambda: net.policies.stop())  # noqa: PLW0108 - of those it has then
        yield net


@asynccontextmanager
async def _served(host: PolicyHost, tls: ssl.SSLContext) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/.well-known/mta-sts.txt", host.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host.port = runner.addresses[0][1]
    try:
        yield
    finally:
        await runner.cleanup()
