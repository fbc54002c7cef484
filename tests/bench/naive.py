"""The script that one would write without us: EmailMessage and aiosmtplib, nothing durable.

`python -m tests.bench.naive PORT SECONDS SESSIONS [signed]`: prints mails and seconds; `signed` by dkimpy, RSA-2048. Each session keeps its connection, which
is kinder to the script than most are.
"""

import asyncio
import itertools
import sys
import time
from email import policy
from email.message import EmailMessage
from functools import cache

import dkim
import uvloop
from aiosmtplib import SMTP
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

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


def signed(message: bytes) -> bytes:
    """With its DKIM-Signature in front, as dkimpy makes it."""
    return dkim.sign(message, b"bench", b"example.com", _key(), canonicalize=(b"relaxed", b"relaxed")) + message  # type: ignore[no-any-return]


@cache
def _key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


async def send(port: int, seconds: float, sessions: int, *, sign: bool = False) -> tuple[int, float]:
    """How many were taken, in how many seconds."""
    numbers = itertools.count()
    began = time.monotonic()

    async def session() -> int:
        sent = 0
        async with SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False) as smtp:
            while time.monotonic() < began + seconds:
                message = mail(next(numbers))
                if sign:
                    content = signed(message.as_bytes(policy=policy.SMTP))
                    await smtp.sendmail(message["From"], message["To"], content)
                else:
                    await smtp.send_message(message)
                sent += 1
        return sent

    sent = sum(await asyncio.gather(*(session() for _ in range(sessions))))
    return sent, time.monotonic() - began


if __name__ == "__main__":
    port, seconds, sessions = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    print(*uvloop.run(send(port, seconds, sessions, sign="signed" in sys.argv)))
