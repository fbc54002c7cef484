"""DNS with a memory: each answer is kept for its time to live, and each question is asked once, whoever waits for it.

What does not answer is told apart from what is not there. It must never let one dead name server hold up other names.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import dns.flags
from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.nameserver import Do53Nameserver
from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TLSA import TLSA
from dns.rdtypes.ANY.TXT import TXT
from dns.resolver import NXDOMAIN, Answer

from chassis.clock import Clock
from chassis.telemetry import logger
from services.sender import metrics
from services.sender.domain.dane import Tlsa
from services.sender.domain.mx import Absence, Exchanger

WITHIN = 10.0  # seconds for one question, all servers and repetitions taken together
ONE_TRY = 3.0  # seconds until the next server, or the same one again
_MOST = 20_000  # answers in memory: some MB
_LONGEST, _SHORTEST = 3600.0, 5.0  # seconds an answer is kept, whatever its time to live says
_ABSENT_FOR, _FAILED_FOR = 60.0, 10.0  # seconds; a failure just so long that a thousand mails do not all wait for it
_MOST_ALIASES = 8  # CNAMEs in a row


@dataclass(frozen=True, slots=True)
class Known:
    """`vouched`: the resolver says that it has validated this, absence too (the AD bit)."""

    found: tuple[Rdata, ...] | Absence
    vouched: bool = False


_log = logger("dns")


class CachedResolver:
    """No servers: those of the machine. `within`, `one_try`: in seconds, see above."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        clock: Clock,
        *,
        within: float = WITHIN,
        one_try: float = ONE_TRY,
    ) -> None:
        self._servers = servers
        self._within = within
        self._one_try = one_try
        self._clock = clock
        self._resolver: Resolver | None = None
        self._known: OrderedDict[tuple[str, str], tuple[float, Known]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Known]] = {}

    async def exchangers(self, domain: str) -> Sequence[Exchanger] | Absence:
        found = (await self._look(domain, "MX")).found
        return found if isinstance(found, str) else [_exchanger(cast("MX", entry)) for entry in found]

    async def addresses(self, host: str) -> Sequence[str] | Absence:
        """IPv4 first: more of us can use it."""
        four, six = [known.found for known in await asyncio.gather(self._look(host, "A"), self._look(host, "AAAA"))]
        found = [entry.to_text() for known in (four, six) if not isinstance(known, str) for entry in known]
        if found:
            return found
        return "failed" if "failed" in {four, six} else cast("Absence", four)

    async def texts(self, name: str) -> Sequence[str] | Absence:
        found = (await self._look(name, "TXT")).found
        return found if isinstance(found, str) else [_text(cast("TXT", entry)) for entry in found]

    async def tlsa(self, name: str) -> Sequence[Tlsa] | Absence:
        found = (await self._look(name, "TLSA")).found
        return found if isinstance(found, str) else [_tlsa(cast("TLSA", entry)) for entry in found]

    async def vouched(self, name: str, *kinds: str) -> bool:
        """Whether the resolver has validated what it says of all of these, and it says something."""
        known = await asyncio.gather(*(self._look(name, kind) for kind in kinds))
        return all(each.vouched for each in known)

    async def _look(self, name: str, kind: str) -> Known:
        question = (name.rstrip(".").lower(), kind)
        if (kept := self._known.get(question)) is not None and kept[0] > self._clock.monotonic():
            return kept[1]
        asking = self._asking.get(question)
        if asking is None:
            asking = self._asking[question] = asyncio.create_task(self._ask(question))
            asking.add_done_callback(lambda _: self._asking.pop(question, None))
        return await asyncio.shield(asking)  # who gives up waiting does not take the answer from the others

    async def _ask(self, question: tuple[str, str]) -> Known:
        known, kept_for = await self._answer(*question)
        self._known[question] = (self._clock.monotonic() + kept_for, known)
        self._known.move_to_end(question)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return known

    async def _answer(self, name: str, kind: str) -> tuple[Known, float]:
        try:
            answer, vouched = await self._followed(name, kind)
        except NXDOMAIN:
            return Known("no_name"), _ABSENT_FOR
        except (DNSException, OSError, UnicodeError) as error:
            _log.warning("dns_failed", type=kind, reason=type(error).__name__)
            metrics.DNS_FAILED.labels(kind).inc()
            return Known("failed"), _FAILED_FOR
        if answer.rrset is None:
            return Known("no_data", vouched), _ABSENT_FOR
        return Known(tuple(answer.rrset), vouched), min(_LONGEST, max(_SHORTEST, float(answer.rrset.ttl)))

    async def _followed(self, name: str, kind: str) -> tuple[Answer, bool]:
        """Also where a server names an alias and leaves the rest to us. Whether each step was vouched for."""
        vouched = True
        for _ in range(_MOST_ALIASES):
            answer = await self._made().resolve(f"{name}.", kind, raise_on_no_answer=False)
            vouched = vouched and bool(answer.response.flags & dns.flags.AD)
            target = answer.canonical_name.to_text(omit_final_dot=True).lower()
            if answer.rrset is not None or target == name:
                return answer, vouched
            name = target
        raise OSError("aliases without end")

    def _made(self) -> Resolver:
        """Once it is needed: a machine without a resolver may still send to its smarthost."""
        if self._resolver is None:
            resolver = Resolver(configure=not self._servers)
            if self._servers:
                resolver.nameservers = [Do53Nameserver(address, port) for address, port in self._servers]
            resolver.lifetime, resolver.timeout = self._within, self._one_try
            resolver.set_flags(dns.flags.RD | dns.flags.AD)  # we would like to know (RFC 6840, 5.7)
            self._resolver = resolver
        return self._resolver


def _exchanger(record: MX) -> Exchanger:
    return Exchanger(record.preference, record.exchange.to_text(omit_final_dot=True).lower().removesuffix("."))


def _text(record: TXT) -> str:
    return b"".join(record.strings).decode("utf-8", "replace")


def _tlsa(record: TLSA) -> Tlsa:
    return Tlsa(record.usage, record.selector, record.mtype, record.cert)
