"""What a mail goes through without us: Postfix and OpenDKIM, fed by smtp-source, to the same sink (tests/bench/postfix/).

Measured before the stack is there, which has Postfix's share of the machine else. Durable, as we are: the queue is on
disk. It tells nobody what became of a mail, but in a log.
"""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.bench import mails
from tests.bench.processes import Meter
from tests.bench.report import Figures
from tests.bench.taken import Taken
from tests.kit.opendkim import signer
from tests.kit.postfix import postfix
from tests.kit.waiting import until

SESSIONS = 50
_CONFIGURATION = Path(__file__).parent / "postfix"
_SOURCE = "/usr/sbin/smtp-source"
_PER_SECOND = 150  # of the bench's seconds, so many mails: what it does on two CPUs takes a little longer than that
_LENGTH = len(mails.TEXT) + len(mails.HTML)


async def postfix_and_opendkim(seconds: float, sink_port: int, taken: Taken) -> Figures:
    """From smtp-source's start until the sink has the last."""
    count = round(seconds * _PER_SECOND)
    with tempfile.TemporaryDirectory(prefix="sendarix-bench-") as made:
        folder = Path(made)
        key = folder / "key.pem"
        key.write_bytes(_new_key())
        async with signer(folder, _settings("opendkim.conf", key=key)) as milter:
            main = _settings("main.cf", milter=milter.milter, sink=sink_port)
            async with postfix(main, (_CONFIGURATION / "master.cf").read_text()) as server:
                await _sent(server.port, min(count, 200), taken)
                master = int((server.folder / "queue/pid/master.pid").read_text())
                meter, began = Meter({"postfix": master, "opendkim": milter.pid}), time.monotonic()
                await _sent(server.port, count, taken)
                took = time.monotonic() - began
                used = meter.read()
    return {
        "postfix + opendkim: mails/s": count / took,
        "postfix + opendkim: CPU-s per 1,000: postfix": used["postfix"] / count * 1000,
        "postfix + opendkim: CPU-s per 1,000: opendkim": used["opendkim"] / count * 1000,
        "postfix + opendkim: CPU-s per 1,000: all": sum(used.values()) / count * 1000,
    }


async def _sent(port: int, count: int, taken: Taken) -> None:
    """Until the sink has them all."""
    taken.read()
    before = taken.count
    command = ["-s", str(SESSIONS), "-m", str(count), "-l", str(_LENGTH), "-d"]
    command += ["-f", "shop@example.com", "-t", "ada@example.org", f"127.0.0.1:{port}"]
    source = await asyncio.create_subprocess_exec(_SOURCE, *command)
    assert await source.wait() == 0

    def all_there() -> bool:
        taken.read()
        return taken.count >= before + count

    await until(all_there, within=60 + count / 20, every=0.1)


def _settings(name: str, **places: object) -> Mapping[str, str]:
    """A configuration file as names with values; an equals sign may stand between."""
    lines = [line for line in (_CONFIGURATION / name).read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.format(**places).split(maxsplit=1) for line in lines]
    return {pair[0]: pair[1].removeprefix("=").strip() for pair in pairs}


def _new_key() -> bytes:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
