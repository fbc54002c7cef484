"""A DNS server on loopback, over UDP, with the records that a test gives it. It asks nobody else.

What it has no name for is NXDOMAIN; a name that is set to `silent` is never answered.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TTL = 300


@dataclass(slots=True)
class DnsServer(asyncio.DatagramProtocol):
    """`records`: the texts by name (without the last dot) and type. `asked`: every question, in order."""

    port: int = 0
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)  # names that are answered with SERVFAIL
    signed: set[str] = field(default_factory=set)  # names whose answers it says to have validated, as a resolver would
    terse: bool = False  # of an alias only the name it stands for is told
    asked: list[tuple[str, str]] = field(default_factory=list)
    _transport: asyncio.DatagramTransport | None = None

    def publish(self, name: str, kind: str, *texts: str) -> None:
        self.records[name, kind] = list(texts)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        query = dns.message.from_wire(data)
        assert isinstance(query, dns.message.QueryMessage)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self.silent or self._transport is None:
            return
        self._transport.sendto(self._answer(query, name, kind).to_wire(max_size=4096), addr)

    def _answer(self, query: dns.message.QueryMessage, name: str, kind: str) -> dns.message.Message:
        answer = dns.message.make_response(query, recursion_available=True)
        if name in self.signed:
            answer.flags |= dns.flags.AD
        if name in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer
        while (alias := self.records.get((name, "CNAME"))) and kind != "CNAME":
            answer.answer.append(dns.rrset.from_text_list(name + ".", _TTL, "IN", "CNAME", alias))
            if self.terse:
                return answer
            name = alias[0].removesuffix(".")
        if texts := self.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text_list(name + ".", _TTL, "IN", kind, _written(kind, texts)))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


def _written(kind: str, texts: Sequence[str]) -> list[str]:
    """TXT in strings of at most 255 octets, as zones carry them."""
    if kind != "TXT":
        return list(texts)
    return [" ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255)) for text in texts]


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """Listens on an ephemeral port."""
    server = DnsServer()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
