"""A real OpenDKIM as a milter on loopback: a verifier that asks a DNS server of the test's, or a signer with one key.

As a package of the system; its settings are here, and nothing of /etc is read.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

from tests.kit.broker import free_ports
from tests.kit.waiting import until

PROGRAM = "/usr/sbin/opendkim"
AUTHSERV_ID = "verifier.test"  # whose Authentication-Results they are
_STARTS_WITHIN = 20.0
_RESOLVER = """\
server:
    do-not-query-localhost: no
    module-config: "iterator"
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{port}
"""


@dataclass(frozen=True, slots=True)
class OpenDkim:
    """`milter`: as Postfix wants it told."""

    pid: int
    port: int

    @property
    def milter(self) -> str:
        return f"inet:127.0.0.1:{self.port}"


@asynccontextmanager
async def verifier(folder: Path, dns_port: int) -> AsyncIterator[OpenDkim]:
    """Writes what it finds into each mail, also where it finds no signature."""
    resolver = folder / "resolver.conf"
    await asyncio.to_thread(resolver.write_text, _RESOLVER.format(port=dns_port))
    settings = {"Mode": "v", "AuthservID": AUTHSERV_ID, "AlwaysAddARHeader": "yes", "ResolverConfiguration": resolver}
    async with _running(folder, settings) as found:
        yield found


@asynccontextmanager
async def signer(folder: Path, settings: Mapping[str, object]) -> AsyncIterator[OpenDkim]:
    """With the settings of whoever wants it."""
    async with _running(folder, {"Mode": "s", **settings}) as found:
        yield found


@asynccontextmanager
async def _running(folder: Path, settings: Mapping[str, object]) -> AsyncIterator[OpenDkim]:
    (port,) = free_ports(1)
    file = folder / "opendkim.conf"
    whole = {"Syslog": "no", "Socket": f"inet:{port}@127.0.0.1", **settings}
    await asyncio.to_thread(file.write_text, "".join(f"{name} {value}\n" for name, value in whole.items()))
    process = await asyncio.create_subprocess_exec(PROGRAM, "-f", "-x", str(file), stdin=DEVNULL)
    try:
        await until(lambda: _listens(port), within=_STARTS_WITHIN)
        yield OpenDkim(process.pid, port)
    finally:
        process.terminate()
        await process.wait()


def _listens(port: int) -> bool:
    """Without a connection, which a milter would answer to."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(fields[1] == wanted and fields[3] == "0A" for fields in map(str.split, lines))
