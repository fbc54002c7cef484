"""A mailbox: a real SMTP server on loopback that keeps every mail it takes, byte for byte, in a Maildir.

Beside the Maildir, `mailbox.jsonl` has a line per mail with its envelope. What was answered 250 survives a kill -9.
"""

import asyncio
import json
import logging
import os
import signal
from email.parser import BytesHeaderParser
from email.policy import compat32
from itertools import count
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.clock import Clock, SystemClock
from chassis.settings import load_settings
from schemas.envelope import to_timestamp

HOSTNAME = "mailbox.localhost"  # given, because looking the machine's own name up may take seconds
MAX_BYTES = 64 * 1024 * 1024


class MailboxSettings(BaseSettings):
    """`MAILBOX_*`: the Maildir is FOLDER/mailbox, the list of envelopes FOLDER/mailbox.jsonl."""

    model_config = SettingsConfigDict(env_prefix="MAILBOX_", extra="ignore")

    port: int
    folder: Path
    host: str = "127.0.0.1"


class Mailbox:
    """The handler aiosmtpd calls at the end of DATA."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._maildir = folder / "mailbox"
        self._list = folder / "mailbox.jsonl"
        self._clock = clock
        self._numbers = count(1)
        for part in ("tmp", "new", "cur"):
            (self._maildir / part).mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 — aiosmtpd's name
        try:
            name = self._keep(envelope)
        except OSError as error:
            return f"452 4.3.1 The mailbox can't write ({error.strerror})"
        return f"250 2.0.0 Kept as {name}"

    def _keep(self, envelope: Envelope) -> str:
        now = self._clock.now_ms()
        name = f"{now // 1000}.M{now % 1000:03d}P{os.getpid()}Q{next(self._numbers)}.{HOSTNAME}"
        part = self._maildir / "tmp" / name
        content = envelope.original_content or b""
        part.write_bytes(content)
        part.rename(self._maildir / "new" / name)
        line = {
            "received_at": to_timestamp(now),
            "envelope_from": envelope.mail_from,
            "envelope_to": envelope.rcpt_tos,
            "message_id": BytesHeaderParser(policy=compat32).parsebytes(content)["Message-ID"],
            "file": name,
        }
        with self._list.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")
        return name


async def serve(settings: MailboxSettings, clock: Clock, stopping: asyncio.Event) -> None:
    """Take mail until told to stop."""
    loop = asyncio.get_running_loop()
    handler = Mailbox(settings.folder, clock)

    def session() -> SMTP:
        return SMTP(
            handler, hostname=HOSTNAME, ident="Mailbox", enable_SMTPUTF8=True, data_size_limit=MAX_BYTES, loop=loop
        )

    server = await loop.create_server(session, settings.host, settings.port, backlog=512)
    async with server:
        await stopping.wait()


async def _main(settings: MailboxSettings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve(settings, SystemClock(), stopping)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_main(load_settings(MailboxSettings)))
