"""`make bench-sender`: the sender without its log. MIME writer, signer and SMTP transaction, against what they are made of.

In a process of its own, whose CPU is what is measured: mails per CPU-second beside bare RSA signatures per CPU-second,
by turns, so that both have the same machine; then, with a server whose replies take 20 ms, beside plain aiosmtplib.
"""

import argparse
import asyncio
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from aiosmtplib import SMTP
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from schemas.deliveries import Delivery
from schemas.mail import Content
from services.sender.adapters.smtp import Limits, SmtpCarrier
from services.sender.adapters.smtp_setup import SetUp
from services.sender.domain.dkim import Signer, signed
from services.sender.domain.mime import Mail, compose
from services.sender.domain.outcome import Outcome
from services.sender.ports import Server, Stop, Way
from tests.bench import mails
from tests.bench.processes import beside, smtp_sink
from tests.bench.report import Figures, shown
from tests.kit.broker import free_ports

CONNECTIONS = 50
DELAYED_CONNECTIONS = 10
DELAY = 0.02  # seconds, of every reply
_ROUNDS = 3
_PREPARED = 2000  # deliveries: made before anything is measured, for the router makes them
_SIGNERS = (Signer("example.com", "bench", generate_private_key(65537, 2048)),)
_PATIENCE = 60.0


class _Open:
    """Lets everything through."""

    async def settle(self) -> None: ...

    def before_data(self) -> Stop | None:
        return None

    def before_body(self) -> Stop | None:
        return None


def deliveries() -> list[Delivery]:
    return [_delivery(number) for number in range(_PREPARED)]


def _delivery(number: int) -> Delivery:
    to = mails.recipient(number)
    return Delivery(
        message_id=f"msg_{number:032}",
        recipient=to,
        destination=to.rpartition("@")[2],
        content=Content(from_="Shop <hello@example.com>", to=[to], subject="Hello", text=mails.TEXT, html=mails.HTML),
        environment="live",
        priority="normal",
        attempt=1,
        dispatch=1,
        created_at_ms=1_790_000_000_000 + number,
        first_dispatched_at_ms=1_790_000_000_000 + number,
        valid_until_ms=1_790_000_060_000 + number,
    )


def written(delivery: Delivery) -> Mail:
    """As the sender writes them."""
    mail = compose(delivery)
    return Mail(
        mail.envelope_from,
        mail.recipient,
        signed(mail.data, _SIGNERS, delivery.created_at_ms // 1000),
        mail.smtputf8,
    )


def signatures(seconds: float) -> tuple[int, float]:
    """How many bare signatures, in how many seconds of CPU."""
    key, padding, digest = _SIGNERS[0].key, PKCS1v15(), SHA256()
    began, count = time.process_time(), 0
    while (took := time.process_time() - began) < seconds:
        for number in range(20):
            key.sign(b"%320d" % number, padding, digest)  # type: ignore[call-arg]  # it is RSA
        count += 20
    return count, took


class Ours:
    """The carrier to one server."""

    def __init__(self, port: int) -> None:
        self._way = Way("upstream", "upstream", servers=(Server("127.0.0.1", port),))
        self._carrier = SmtpCarrier(SetUp("localhost"), Limits(60, messages_per_connection=100, idle=30))
        self._gate = _Open()
        self._next = itertools.cycle(deliveries())

    async def send(self) -> None:
        """One mail. Raises where it was not taken."""
        by = asyncio.get_running_loop().time() + _PATIENCE
        carried = await self._carrier.carry(self._way, written(next(self._next)), self._gate, dot_by=by)
        assert isinstance(carried.ended, Outcome), carried.ended
        assert carried.ended.outcome == "delivered", carried.ended.reply

    async def stop(self) -> None:
        await self._carrier.stop()


async def kept_up(seconds: float, connections: int, send: Callable[[], Awaitable[None]]) -> int:
    """So many at a time, for so long: how many were sent."""
    until = time.monotonic() + seconds

    async def one() -> int:
        count = 0
        while time.monotonic() < until:
            await send()
            count += 1
        return count

    return sum(await asyncio.gather(*(one() for _ in range(connections))))


async def alone(seconds: float, port: int) -> Figures:
    """Mails and signatures by turns, to a sink that costs this process nothing."""
    ours, sent, mail_cpu, made, sign_cpu = Ours(port), 0, 0.0, 0, 0.0
    await kept_up(1.0, CONNECTIONS, ours.send)
    for _ in range(_ROUNDS):
        count, took = signatures(seconds / _ROUNDS / 3)
        made, sign_cpu = made + count, sign_cpu + took
        before = time.process_time()
        sent += await kept_up(seconds / _ROUNDS, CONNECTIONS, ours.send)
        mail_cpu += time.process_time() - before
    await ours.stop()
    return {
        "sender alone: mails per CPU-s": sent / mail_cpu,
        "sender alone: RSA-2048 signatures per CPU-s": made / sign_cpu,
        "sender alone: mails / signatures": (sent / mail_cpu) / (made / sign_cpu),
    }


async def delayed(seconds: float, port: int) -> Figures:
    """Round trips decide. The script has its mails signed before it begins."""
    ours = Ours(port)
    await kept_up(1.0, DELAYED_CONNECTIONS, ours.send)
    rate = await kept_up(seconds, DELAYED_CONNECTIONS, ours.send) / seconds
    await ours.stop()
    prepared = itertools.cycle([written(delivery) for delivery in deliveries()[:100]])
    clients = [
        SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False) for _ in range(DELAYED_CONNECTIONS)
    ]
    await asyncio.gather(*(client.connect() for client in clients))
    idle = list(clients)

    async def plainly() -> None:
        client, mail = idle.pop(), next(prepared)
        await client.sendmail(mail.envelope_from, [mail.recipient], mail.data)
        idle.append(client)

    plain = await kept_up(seconds, DELAYED_CONNECTIONS, plainly) / seconds
    for client in clients:
        client.close()
    return {
        "replies after 20 ms: mails/s": rate,
        "replies after 20 ms: aiosmtplib mails/s": plain,
        "replies after 20 ms: ours / aiosmtplib": rate / plain,
    }


async def measured(seconds: float, folder: Path) -> Figures:
    quick, slow = free_ports(2)
    with smtp_sink(quick):
        figures = await alone(seconds, quick)
    with beside("tests.bench.sink", slow, str(folder / "taken"), str(DELAY)):
        return figures | await delayed(seconds / 2, slow)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="make bench-sender")
    arguments.add_argument("--seconds", type=float, default=20, help="of the longest measurement")
    arguments.add_argument("--json", action="store_true", help="for the whole bench")
    given = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sendarix-bench-"))
    try:
        figures = uvloop.run(measured(given.seconds, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures) if given.json else shown(figures))


if __name__ == "__main__":
    main()
