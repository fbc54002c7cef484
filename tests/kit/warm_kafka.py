"""What every start of Kafka has in common, made once for the brokers of all later tests: `python -m tests.kit.warm_kafka`.

Java keeps the classes it has loaded and linked (its AOT cache), and a formatted folder can be copied: 2.3 CPU-s for a start
instead of 6.5. No test may need it: where it is missing, brokers start as they do elsewhere.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.local.kafka import KafkaPlace, prepare
from tests.kit.broker import FORMATTED, LEARNT, QUICK_START, await_ready, free_ports, provision_topics

_ENDS_WITHIN = 120  # seconds: at its end it writes down what it has learnt


def learn() -> None:
    """Run a broker that notes what it loads while it starts and makes every topic."""
    LEARNT.parent.mkdir(parents=True, exist_ok=True)
    part = LEARNT.with_suffix(f".{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="sendarix-kafka-") as folder:
        place = KafkaPlace(Path(folder), *free_ports(2))
        command = prepare(place)
        formatted = Path(shutil.copytree(place.data, Path(folder) / "formatted"))
        options = f"{QUICK_START} -XX:AOTCacheOutput={part}"
        broker = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "JDK_JAVA_OPTIONS": options},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await_ready(place.bootstrap_servers, str)
            provision_topics(place.bootstrap_servers)
            broker.terminate()
            broker.wait(_ENDS_WITHIN)
        finally:
            broker.kill()
            broker.wait()
        shutil.rmtree(FORMATTED, ignore_errors=True)
        shutil.copytree(formatted, FORMATTED)
    part.rename(LEARNT)


if __name__ == "__main__" and not LEARNT.exists():
    learn()
