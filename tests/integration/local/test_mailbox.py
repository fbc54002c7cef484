"""The mailbox: a real SMTP server that keeps what it takes, byte for byte, through a kill -9 of itself."""

import asyncio
import json
import mailbox
import os
import smtplib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.readiness import missing_of
from tests.kit.broker import free_ports


class Running:
    """The mailbox as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        settings = {"MAILBOX_PORT": str(self.port), "MAILBOX_FOLDER": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.mailbox"],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONPATH": ".", **settings},
        )

    async def ready(self) -> None:
        async with asyncio.timeout(20):
            while await missing_of(f"smtp://127.0.0.1:{self.port}"):
                await asyncio.sleep(0.02)

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=10)

    def mails(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.folder / "mailbox" / "new").iterdir())]

    def envelopes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "mailbox.jsonl").read_text().splitlines()]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path)
    await running.ready()
    yield running
    running.kill()


def _deliver(
    client: smtplib.SMTP, content: bytes, *, to: str = "ada@example.org", options: tuple[str, ...] = ()
) -> bytes:
    """MAIL, RCPT, and DATA with dot-stuffing done here, so that no library rewrites a byte."""
    client.ehlo_or_helo_if_needed()
    assert client.mail("bounce@example.com", options)[0] == 250
    assert client.rcpt(to)[0] == 250
    assert client.docmd("DATA")[0] == 354
    stuffed = b"".join(b"." + line if line.startswith(b".") else line for line in content.splitlines(keepends=True))
    client.send(stuffed + b".\r\n")
    code, text = client.getreply()
    assert code == 250, text
    return text


@pytest.mark.parametrize(
    "content",
    [
        b"Message-ID: <1@example.com>\r\nSubject: a\r\n\r\n.\r\n..\r\n.leading dot\r\nmiddle.\r\n",
        b"Subject: 8 bit\r\n\r\n\xc3\xa9\xff\xfe \x80\r\n\t trailing blanks  \r\n\r\n\r\n",
        b"Subject: no body\r\n",
        b"no header at all\r\n",
        b"\r\n",
        b"Subject: bare LF and CR\r\n\r\none\ntwo\rthree\r\n",
        b"Subject: longest line\r\n\r\n" + b"x" * 998 + b"\r\n",
    ],
)
async def test_bytes_are_kept_as_they_were_sent(box: Running, content: bytes) -> None:
    """R28: a lone dot inside the body is no end, a bare LF is no line end."""
    with box.client() as client:
        await asyncio.to_thread(_deliver, client, content)
    assert box.mails() == [content]


async def test_the_envelope_stands_beside_the_mail(box: Running) -> None:
    content = b"Message-ID: <msg_1@example.com>\r\nTo: someone@else.example\r\n\r\nHello.\r\n"
    with box.client() as client:
        await asyncio.to_thread(_deliver, client, content)
        await asyncio.to_thread(_deliver, client, content, to="bob@example.org")
    first, second = box.envelopes()
    assert (first["envelope_from"], first["envelope_to"]) == ("bounce@example.com", ["ada@example.org"])
    assert second["envelope_to"] == ["bob@example.org"]
    assert first["message_id"] == "<msg_1@example.com>"
    assert (box.folder / "mailbox" / "new" / first["file"]).read_bytes() == content


async def test_it_offers_what_mail_of_today_needs(box: Running) -> None:
    with box.client() as client:
        client.ehlo()
        assert {"8bitmime", "smtputf8", "size"} <= set(client.esmtp_features)
        assert int(client.esmtp_features["size"]) >= 25 * 1024 * 1024
        text = "Subject: grüße\r\n\r\nüber\r\n".encode()
        await asyncio.to_thread(_deliver, client, text, options=("SMTPUTF8", "BODY=8BITMIME"), to="ada@example.org")
    assert box.mails() == [text]


async def test_what_was_answered_250_survives_a_kill(box: Running) -> None:
    contents = [b"Message-ID: <%d@example.com>\r\n\r\nHello.\r\n" % number for number in range(50)]
    with box.client() as client:
        for content in contents:
            await asyncio.to_thread(_deliver, client, content)
        box.kill()
    assert sorted(box.mails()) == sorted(contents)
    assert len(box.envelopes()) == len(contents)
    assert len(mailbox.Maildir(box.folder / "mailbox", create=False)) == len(contents)


async def test_a_mailbox_that_can_not_write_defers(box: Running) -> None:
    """A full disk is no reason to bounce: 4xx, and nothing is half there."""
    new = box.folder / "mailbox" / "new"
    new.rename(new.with_name("away"))
    with box.client() as client:
        client.ehlo()
        client.mail("bounce@example.com")
        client.rcpt("ada@example.org")
        assert client.data(b"Subject: x\r\n\r\n")[0] == 452
    new.with_name("away").rename(new)
    assert box.mails() == []
