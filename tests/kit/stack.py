"""The local stack as tests see it: started by `make up` with its documented knobs, spoken to as a client would.

It must never reach into a service; faults are signals to the pids that stack.json lists.
"""

import asyncio
import contextlib
import json
import mailbox
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiokafka import AIOKafkaConsumer

from schemas.topics import TOPICS
from tests.kit.waiting import found

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


@dataclass(slots=True)
class Stack:
    """One running stack. `run_dir` and `port_base` keep it apart from others."""

    run_dir: Path
    port_base: int
    knobs: Mapping[str, str] = field(default_factory=dict)
    _http: aiohttp.ClientSession | None = None

    @property
    def environment(self) -> dict[str, str]:
        own = {"RUN_DIR": str(self.run_dir), "PORT_BASE": str(self.port_base)}
        return {**os.environ, **own, **self.knobs}

    def make(self, target: str, *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """`make <target>` for this stack, its output kept."""
        return subprocess.run(
            ["make", "--no-print-directory", target],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        done = await asyncio.to_thread(self.make, "up")
        assert done.returncode == 0, done.stdout + done.stderr
        self.join()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
        done = await asyncio.to_thread(self.make, "down")
        assert done.returncode == 0, done.stdout + done.stderr

    def join(self) -> None:
        """Speak to it, whoever has started it."""
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.key('live')}"})

    async def leave(self) -> None:
        if self._http is not None:
            await self._http.close()

    @property
    def description(self) -> Json:
        found: Json = json.loads((self.run_dir / "stack.json").read_text())
        return found

    def key(self, name: str) -> str:
        found: str = self.description["keys"][name]
        return found

    def pid(self, service: str, replica: int = 1) -> int:
        return next(
            int(process["pid"])
            for process in self.description["processes"]
            if (process["service"], int(process["replica"])) == (service, replica)
        )

    def kill(self, service: str, replica: int = 1) -> int:
        """SIGKILL; returns the pid that is gone."""
        pid = self.pid(service, replica)
        os.kill(pid, signal.SIGKILL)
        return pid

    async def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, ingest: int = 0, **headers: str
    ) -> tuple[int, Json, Mapping[str, str]]:
        """One API request: status, JSON answer, headers. `ingest` picks the replica."""
        assert self._http is not None
        url = self.description["ingest"][ingest] + path
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        async with self._http.request(method, url, json=body, headers=sent) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else {}, response.headers

    async def send(self, recipient: str, *, ingest: int = 0, **fields: Any) -> Json:
        """Hand over a small mail; the 202's body."""
        body = {"recipient": recipient, "subject": "Hello", "text": "Hello.", **fields}
        status, answer, _ = await self.call("POST", "/v1/messages", body, ingest=ingest)
        assert status == 202, answer
        return answer

    async def message(self, message_id: str) -> Json:
        status, answer, _ = await self.call("GET", f"/v1/messages/{message_id}")
        assert status == 200, answer
        return answer

    async def message_when(self, message_id: str, status: str, *, within: float = 30) -> Json:
        """The message once the read side shows it in `status`."""

        async def there() -> Json | None:
            found = await self.message(message_id)
            return found if found["status"] == status else None

        return await found(there, within=within)

    def mails(self) -> list[Message]:
        """What lies in the mailbox."""
        return list(mailbox.Maildir(self.run_dir / "mailbox", create=False))

    def copies(self) -> Counter[str]:
        """Mails in the mailbox by message id (the local part of Message-ID)."""
        return Counter(str(mail["Message-ID"]).strip("<> ").split("@")[0] for mail in self.mails())

    @contextlib.asynccontextmanager
    async def subscription(self, entry: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of a public topic from its beginning."""
        consumer = AIOKafkaConsumer(
            TOPICS[entry].name,
            bootstrap_servers=self.description["kafka"],
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def read_topic(self, entry: str) -> list[bytes]:
        """Every value that is in the topic now."""
        async with self.subscription(entry) as consumer:
            ends = await consumer.end_offsets(list(consumer.assignment()))
            values: list[bytes] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    values += [record.value for record in records]
            return values
