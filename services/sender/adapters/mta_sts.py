"""MTA-STS policies, found, fetched over HTTPS and remembered for as long as they say, restarts included (RFC 8461; R28).

A policy that was known outlives whatever keeps it from being fetched again: that is what it is for. It must never follow
a redirect, read without end, or let a domain name an address that this machine must not call.
"""

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from chassis.clock import Clock
from chassis.telemetry import logger
from services.sender import metrics
from services.sender.adapters import sts_file
from services.sender.adapters.resolver import CachedResolver
from services.sender.adapters.sts_file import KeptPolicy
from services.sender.domain.mta_sts import MOST_BYTES, MalformedPolicy, StsPolicy, id_of, policy_of
from services.sender.domain.mx import Guard

_FETCH_WITHIN = 10.0  # seconds, all of it: a mail waits for it
_TRY_AGAIN = 300.0  # seconds after a fetch that failed (RFC 8461, 3.3)
_REFRESH_AFTER = 86_400.0  # seconds: long before it ends, so that a fetch may fail now and then
_MOST = 20_000  # domains in memory
_KEEP_EVERY = 60.0  # seconds between two looks whether the file is behind

_log = logger("mta-sts")


@dataclass(slots=True)
class _Known:
    """What is known of one domain. `id` is of the policy; None with a policy that was never fetched."""

    id: str | None = None
    policy: StsPolicy | None = None
    until: float = 0.0
    fetched_at: float = 0.0
    tried_at: float = float("-inf")


class StsPolicies:
    """A part of the service. `file`: where policies outlive the process. `port`, `trust`: other than usual in tests only."""

    def __init__(
        self,
        resolver: CachedResolver,
        guard: Guard,
        clock: Clock,
        file: Path,
        *,
        port: int = 443,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._file = file
        self._resolver = resolver
        self._guard = guard
        self._clock = clock
        self._port = port
        self._trust = trust
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._looking: dict[str, asyncio.Task[StsPolicy | None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._news = False  # since the file was written
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._remember(await asyncio.to_thread(sts_file.read, self._file))
        self._keeping = asyncio.create_task(self._keep_for_ever(), name="mta-sts")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Guarded(self._resolver, self._guard),
                ssl=self._trust if self._trust is not None else True,
                use_dns_cache=False,  # the resolver has one
                force_close=True,
            ),
            timeout=aiohttp.ClientTimeout(total=_FETCH_WITHIN),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "Sendarix-MTA-STS/1", "Accept-Encoding": "identity"},
        )

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            await self._keep()
        if self._session is not None:
            await self._session.close()

    async def of(self, domain: str) -> StsPolicy | None:
        """The one that holds now. One look per domain, whoever waits for it."""
        looking = self._looking.get(domain)
        if looking is None:
            looking = self._looking[domain] = asyncio.create_task(self._look(domain))
            looking.add_done_callback(lambda _: self._looking.pop(domain, None))
        return await asyncio.shield(looking)

    async def _look(self, domain: str) -> StsPolicy | None:
        found = await self._resolver.texts(f"_mta-sts.{domain}")
        policy_id = None if isinstance(found, str) else id_of(found)
        known = self._known.get(domain)
        if policy_id is not None:
            known = self._known.setdefault(domain, _Known())
            self._known.move_to_end(domain)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
            if self._is_due(known, policy_id):
                await self._renew(known, domain, policy_id)
        # Without a record, too, what was promised holds to its end: whoever can forge an answer can withhold one.
        return None if known is None or self._clock.monotonic() >= known.until else known.policy

    def _is_due(self, known: _Known, policy_id: str) -> bool:
        now = self._clock.monotonic()
        if now < known.tried_at + _TRY_AGAIN:
            return False
        return known.id != policy_id or now >= min(known.until, known.fetched_at + _REFRESH_AFTER)

    async def _renew(self, known: _Known, domain: str, policy_id: str) -> None:
        try:
            policy = policy_of(await self._fetch(domain))
        except MalformedPolicy as error:
            self._failed(known, domain, "malformed", str(error))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._failed(known, domain, "failed", type(error).__name__)
        else:
            metrics.MTA_STS_FETCHES.labels("ok").inc()
            now = self._clock.monotonic()
            known.id, known.policy, known.fetched_at, known.until = policy_id, policy, now, now + policy.max_age
            self._news = True

    def _failed(self, known: _Known, domain: str, result: str, reason: str) -> None:
        _log.warning("mta_sts_not_fetched", domain=domain, reason=reason)
        metrics.MTA_STS_FETCHES.labels(result).inc()
        known.tried_at = self._clock.monotonic()

    async def _keep_for_ever(self) -> None:
        while True:
            await self._clock.sleep(_KEEP_EVERY)
            await self._keep()

    async def _keep(self) -> None:
        if self._news:
            self._news = False
            await asyncio.to_thread(sts_file.write, self._file, self._kept())

    def _kept(self) -> list[KeptPolicy]:
        """In the time of the calendar, which goes on while nobody runs."""
        offset = self._clock.now_ms() / 1000 - self._clock.monotonic()
        return [
            KeptPolicy(
                domain=domain,
                id=known.id,
                policy=known.policy,
                fetched_at_ms=round((known.fetched_at + offset) * 1000),
                until_ms=round((known.until + offset) * 1000),
            )
            for domain, known in self._known.items()
            if known.id is not None and known.policy is not None
        ]

    def _remember(self, found: Sequence[KeptPolicy]) -> None:
        offset = self._clock.now_ms() / 1000 - self._clock.monotonic()
        for kept in found[-_MOST:]:
            until, fetched_at = kept.until_ms / 1000 - offset, kept.fetched_at_ms / 1000 - offset
            self._known[kept.domain] = _Known(kept.id, kept.policy, until, fetched_at)

    async def _fetch(self, domain: str) -> str:
        assert self._session is not None, "start() first"
        port = "" if self._port == 443 else f":{self._port}"
        url = f"https://mta-sts.{domain}{port}/.well-known/mta-sts.txt"
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise MalformedPolicy(f"the answer was {response.status}")
            read = bytearray()
            while chunk := await response.content.read(MOST_BYTES + 1 - len(read)):
                read += chunk
                if len(read) > MOST_BYTES:
                    raise MalformedPolicy("it is longer than 64 kB")
        return bytes(read).decode("utf-8", "replace")


class _Guarded(AbstractResolver):
    """Lets pass those addresses of a name that may be connected to."""

    def __init__(self, resolver: CachedResolver, guard: Guard) -> None:
        self._resolver = resolver
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        found = await self._resolver.addresses(host)
        usable = [] if isinstance(found, str) else [each for each in found if self._guard.refusal(host, each) is None]
        if not usable:
            raise OSError("no address that may be called")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in usable
        ]

    async def close(self) -> None:
        """The resolver is another's."""
