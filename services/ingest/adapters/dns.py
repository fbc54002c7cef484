"""DNS as the owner of a domain has set it up: dnspython's resolver, at the addresses that the settings name.

It caches nothing, for whoever has just published a record asks again at once. What does not answer is told apart from
what is not there: silence must never take a domain's right to send.
"""

from collections.abc import Sequence

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.nameserver import Do53Nameserver
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.TXT import TXT
from dns.resolver import NXDOMAIN, NoAnswer

from chassis.telemetry import logger
from schemas.tables import DomainRecord
from services.ingest.domain.domains import Looked

_WITHIN = 4.0  # seconds for one record, all servers and repetitions taken together: a client waits for it
_ONE_TRY = 1.5  # seconds until the next server, or the same one again

_log = logger("dns")


class ResolvedRecords:
    """See `services.ingest.ports.Dns`. No servers: those of the machine."""

    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        self._servers = servers
        self._resolver: Resolver | None = None

    async def look(self, record: DomainRecord) -> Looked:
        try:
            answer = await self._made().resolve(f"{record.name}.", record.type, raise_on_no_answer=True)
        except (NXDOMAIN, NoAnswer):
            return Looked(())
        except (DNSException, OSError) as error:
            _log.warning("dns_silent", name=record.name, type=record.type, reason=type(error).__name__)
            return Looked(None)
        return Looked([text for data in answer if (text := _text(data)) is not None])

    def _made(self) -> Resolver:
        """Once it is needed: a machine without a resolver of its own may still accept mail."""
        if self._resolver is None:
            resolver = Resolver(configure=not self._servers)
            if self._servers:
                resolver.nameservers = [Do53Nameserver(address, port) for address, port in self._servers]
            resolver.lifetime, resolver.timeout = _WITHIN, _ONE_TRY
            self._resolver = resolver
        return self._resolver


def _text(data: object) -> str | None:
    """TXT in one piece, however it was cut; the target of a CNAME."""
    if isinstance(data, TXT):
        return b"".join(data.strings).decode("utf-8", "replace")
    return data.target.to_text() if isinstance(data, CNAME) else None
