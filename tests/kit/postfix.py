"""Mail servers of others, from Postfix's packages, each in a folder of its own on loopback: what our sender must get on with.

`async with postfix() as server`: a real Postfix that takes mail for any domain and delivers it to one maildir.
`async with smtp_sink("-q", ".") as sink`: Postfix's test sink with its faults (`man smtp-sink`). Both are started as
root, drop their rights themselves, and are gone with the block. They must never relay: nothing leaves this machine.
"""

import asyncio
import re
import shutil
import socket
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.kit.waiting import eventually, until

_NOBODY = 65534
_MAIN: Mapping[str, str] = {
    "compatibility_level": "3.6",
    "command_directory": "/usr/sbin",
    "daemon_directory": "/usr/lib/postfix/sbin",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": "mx.test",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "smtpd_recipient_restrictions": "permit_mynetworks, reject",
    "smtp_dns_support_level": "disabled",
    "virtual_transport": "virtual",
    "virtual_mailbox_domains": "static:ok",
    "virtual_mailbox_maps": "static:box/",
    "virtual_uid_maps": f"static:{_NOBODY}",
    "virtual_gid_maps": f"static:{_NOBODY}",
}
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
# What a server puts above the mail that it got: fields with the lines they are folded to.
_TRACE = re.compile(
    rb"(?:(?:Return-Path|X-Original-To|Delivered-To|Received|X-Client-Addr|X-Client-Proto|X-Helo-Args|X-Mail-Args"
    rb"|X-Rcpt-Args): .*\n(?:[ \t].*\n)*)*"
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A mail as it was stored, with CRLF line ends."""

    raw: bytes

    @property
    def content(self) -> bytes:
        """Without what the server put above it."""
        return _crlf(_TRACE.sub(b"", self.raw.replace(b"\r\n", b"\n"), count=1))


@dataclass(frozen=True, slots=True)
class ForeignServer:
    """`log`: what Postfix says of itself; a sink has none."""

    port: int
    folder: Path
    stored: str  # the files it leaves, as a pattern
    separator: bytes = b""  # what it puts after each mail

    @property
    def log(self) -> str:
        found = self.folder / "log"
        return found.read_text(errors="replace") if found.exists() else ""

    def mails(self) -> list[Arrived]:
        """In the order in which they were stored."""
        files = sorted(self.folder.glob(self.stored), key=lambda file: file.stat().st_mtime_ns)
        return [Arrived(_crlf(file.read_bytes().removesuffix(self.separator))) for file in files]

    async def until_mails(self, count: int, within: float = 60) -> list[Arrived]:
        await until(lambda: len(self.mails()) >= count, within=within)
        return self.mails()


@asynccontextmanager
async def postfix(settings: Mapping[str, str] | None = None, services: str = "") -> AsyncIterator[ForeignServer]:
    """`settings` go into main.cf over what stands there, `services` are further lines of master.cf."""
    with _folder() as folder:
        for name, owner in (("etc", "root"), ("queue", "root"), ("mail", "nobody"), ("data", "postfix")):
            (folder / name).mkdir()
            shutil.chown(folder / name, owner)
        port = _free_port()
        places = {
            "queue_directory": f"{folder}/queue",
            "data_directory": f"{folder}/data",
            "virtual_mailbox_base": f"{folder}/mail",
            "maillog_file": f"{folder}/log",
            "maillog_file_prefixes": str(folder),
        }
        main = {**_MAIN, **places, **(settings or {})}
        (folder / "etc/main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
        (folder / "etc/master.cf").write_text(_MASTER.format(port=port) + services)
        await _postfix(folder, "start")
        try:
            await _until_it_listens(port)
            yield ForeignServer(port, folder, "mail/box/new/*")
        finally:
            await _postfix(folder, "stop")


@asynccontextmanager
async def smtp_sink(*options: str) -> AsyncIterator[ForeignServer]:
    """Stores each mail whose dot came, whatever it answers."""
    with _folder() as folder:
        shutil.chown(folder, "nobody")
        port = _free_port()
        command = ["smtp-sink", "-u", "nobody", "-d", "mail.", *options, f"127.0.0.1:{port}", "100"]
        process = await asyncio.create_subprocess_exec(*command, cwd=folder)
        try:
            await _until_it_listens(port)
            yield ForeignServer(port, folder, "mail.*", separator=b"\n")
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


@contextmanager
def _folder() -> Iterator[Path]:
    """Not pytest's own, which only root may enter."""
    folder = Path(tempfile.mkdtemp(prefix="sendarix-postfix-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _postfix(folder: Path, what: str) -> None:
    command = ["/usr/sbin/postfix", "-c", str(folder / "etc"), what]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"postfix {what}: {said.decode(errors='replace')}")


async def _until_it_listens(port: int) -> None:
    async def connects() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await eventually(connects, within=30, every=0.02)


def _crlf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
