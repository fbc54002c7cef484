"""Which of a domain's mail servers have TLSA records that may be believed (DANE; RFC 7672; R28, D54).

Only what the resolver vouches for counts: the MX, the server's addresses, the records. It must never take a failing
answer for none: whoever can forge one could have the certificate left unlooked at.
"""

import asyncio
from collections.abc import Mapping, Sequence

from services.sender import metrics
from services.sender.adapters.resolver import CachedResolver
from services.sender.domain.dane import Tlsa, usable

Asked = tuple[Tlsa, ...]  # of a certificate; nothing: merely to encrypt


class DaneRecords:
    """`vouches`: the resolvers validate DNSSEC, and what they say arrives as they said it; else there is no DANE."""

    def __init__(self, resolver: CachedResolver, *, port: int, vouches: bool) -> None:
        self._resolver = resolver
        self._port = port
        self._vouches = vouches

    async def of(self, domain: str, hosts: Sequence[str]) -> Mapping[str, Asked | None]:
        """By host, where it has records; None: nobody could say, and it must be left alone."""
        if not self._vouches or not await self._resolver.vouched(domain, "MX"):
            return {}
        found = await asyncio.gather(*(self._of_host(host) for host in hosts))
        return {host: asked for host, has, asked in found if has}

    async def _of_host(self, host: str) -> tuple[str, bool, Asked | None]:
        if not await self._resolver.vouched(host, "A", "AAAA"):
            return host, False, None
        name = f"_{self._port}._tcp.{host}"
        records = await self._resolver.tlsa(name)
        if records == "failed":
            return _counted(host, "failed", has=True)
        if isinstance(records, str) or not await self._resolver.vouched(name, "TLSA"):
            return _counted(host, "none", has=False)
        asked = usable(records)
        return _counted(host, "usable" if asked else "unusable", has=True, asked=asked)


def _counted(host: str, result: str, *, has: bool, asked: Asked | None = None) -> tuple[str, bool, Asked | None]:
    metrics.DANE.labels(result).inc()
    return host, has, asked
