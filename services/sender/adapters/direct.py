"""The way to a domain's own mail servers: MX, addresses, DANE, MTA-STS, the address to leave from (R20, R28; D51-D54).

It must never connect anywhere, nor let a delivery wait for what is only told to others.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chassis.clock import Clock
from chassis.ids import shuffled
from schemas.deliveries import Delivery
from schemas.mail import Tls
from services.sender import metrics
from services.sender.adapters.dane import Asked, DaneRecords
from services.sender.adapters.resolver import CachedResolver
from services.sender.domain.mta_sts import StsPolicy
from services.sender.domain.mx import Guard, confirmed, hosts_of, leaving_from, targets_of, unmatched, unreadable
from services.sender.domain.outcome import Outcome
from services.sender.domain.providers import group_of
from services.sender.domain.shaping import of_provider
from services.sender.ports import Server, Way

_PLANNED_FOR = 60.0  # seconds with the same order of hosts, so that connections are met again
_MOST = 10_000  # destinations in memory


class Policies(Protocol):
    """MTA-STS."""

    async def of(self, domain: str) -> StsPolicy | None: ...


class Destinations(Protocol):
    """Tells the routers which provider is behind a destination. At once: it only makes a note."""

    def seen(self, destination: str, group: str, mx_hosts: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Plan:
    group: str
    targets: tuple[tuple[str, str], ...]
    dane: Mapping[str, Asked]  # by host, where DNS has a say
    enforced: bool  # by the domain itself: verified TLS, whatever a route says


class DirectWays:
    """`sources`: our addresses, to leave from; none: whatever the system takes."""

    def __init__(
        self,
        resolver: CachedResolver,
        dane: DaneRecords,
        policies: Policies,
        destinations: Destinations,
        guard: Guard,
        clock: Clock,
        *,
        port: int,
        sources: Sequence[str],
    ) -> None:
        self._resolver = resolver
        self._dane = dane
        self._policies = policies
        self._destinations = destinations
        self._guard = guard
        self._clock = clock
        self._port = port
        self._sources = sources
        self._plans: OrderedDict[str, tuple[float, _Plan]] = OrderedDict()

    async def of(self, path: str, delivery: Delivery) -> Way | Outcome:
        plan = await self._plan(delivery.destination)
        if isinstance(plan, Outcome):
            return confirmed(plan, attempt=delivery.attempt, age_ms=self._clock.now_ms() - delivery.created_at_ms)
        left = leaving_from(plan.targets, self._sources, delivery.source_address, shuffled)
        if isinstance(left, Outcome):
            return left
        source, targets = left
        tls = delivery.tls or of_provider(plan.group).tls
        servers = tuple(self._server(delivery.destination, plan, target, tls, source) for target in targets)
        return Way(path, plan.group, source, servers)

    def _server(self, domain: str, plan: _Plan, target: tuple[str, str], tls: Tls, source: str | None) -> Server:
        host, address = target
        asked = plan.dane.get(host)
        return Server(
            host,
            self._port,
            "required" if plan.enforced else tls,
            address=address,
            source_address=source,
            dane=asked,
            dane_names=(host, domain) if asked else (),
        )

    async def _plan(self, destination: str) -> _Plan | Outcome:
        kept = self._plans.get(destination)
        if kept is not None and kept[0] > self._clock.monotonic():
            return kept[1]
        plan = await self._made(destination)
        if isinstance(plan, _Plan):
            self._plans[destination] = (self._clock.monotonic() + _PLANNED_FOR, plan)
            self._plans.move_to_end(destination)
            while len(self._plans) > _MOST:
                self._plans.popitem(last=False)
        return plan

    async def _made(self, destination: str) -> _Plan | Outcome:
        exchangers, policy = await asyncio.gather(
            self._resolver.exchangers(destination), self._policies.of(destination)
        )
        hosts = hosts_of(destination, exchangers, shuffled)
        if isinstance(hosts, Outcome):
            return hosts
        group = group_of(hosts, destination)
        self._destinations.seen(destination, group, hosts)
        dane = await self._dane.of(destination, hosts)
        known = {host: asked for host, asked in dane.items() if asked is not None}
        readable = [host for host in hosts if host in known or host not in dane]
        if not readable:
            return unreadable(destination)
        admitted = _admitted(readable, policy, {host for host, asked in known.items() if asked})
        if not admitted:
            return unmatched(destination)
        found = await asyncio.gather(*(self._resolver.addresses(host) for host in admitted))
        targets = targets_of(destination, admitted, dict(zip(admitted, found, strict=True)), self._guard)
        if isinstance(targets, Outcome):
            return targets
        return _Plan(group, targets, known, enforced=policy is not None and policy.mode == "enforce")


def _admitted(hosts: Sequence[str], policy: StsPolicy | None, dane: Collection[str]) -> Sequence[str]:
    """A policy that is only tested stops nothing, and is counted. `dane`: hosts that need none (RFC 8461, 2)."""
    if policy is None:
        return hosts
    admitted = [host for host in hosts if policy.mode == "none" or host in dane or policy.admits(host)]
    metrics.MTA_STS.labels(policy.mode, "ok" if len(admitted) == len(hosts) else "mismatch").inc()
    return admitted if policy.mode == "enforce" else hosts
