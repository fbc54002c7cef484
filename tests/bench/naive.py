"""The script that one would write without us: EmailMessage and aiosmtplib, nothing durable. Unsigned, as our mails are.

`python -m tests.bench.naive PORT SECONDS SESSIONS`: prints mails and seconds. Each session keeps its connection, which
is kinder to the script than most are.
"""

import asyncio
import itertools
import sys
import time
from email.message import EmailMessage

import uvloop
from aiosmtplib import SMTP

from tests.bench.mails import HTML, TEXT, recipient


def mail(number: int) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = recipient(number)
    message["Subject"] = "Hello"
    message["Message-ID"] = f"<naive-{number}@example.com>"
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    return message


async def send(port: int, seconds: float, sessions: int) -> tuple[int, float]:
    """How many were taken, in how many seconds."""
    numbers = itertools.count()
    began = time.monotonic()

    async def session() -> int:
        sent = 0
        async with SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False) as smtp:
            while time.monotonic() < began + seconds:
                await smtp.send_message(mail(next(numbers)))
                sent += 1
        return sent

    sent = sum(await asyncio.gather(*(session() for _ in range(sessions))))
    return sent, time.monotonic() - began


if __name__ == "__main__":
    print(*uvloop.run(send(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
