"""One run: everything measured once, in one stack, beside one sink. Wall rates mean something as ratios within a run."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from deploy.local.layout import Layout
from tests.bench import bare, mails
from tests.bench.client import Client, Load
from tests.bench.processes import Meter, beside, held
from tests.bench.report import Figures, percentiles
from tests.bench.taken import Taken
from tests.bench.unsigned import add_unsigned_domain
from tests.kit.stack import Stack
from tests.kit.waiting import eventually, until

CONNECTIONS = 50
PER_SECOND = 100  # for the latency of an acceptance
END_TO_END_PER_SECOND = 50  # for the latency from the request to the mail server's 250
EVENTS_PER_MAIL = 3  # queued, accepted, delivered
MEASURED = ("kafka", "ingest", "router", "sender", "webhooks", "analytics")
_HELD_SECONDS = 15.0  # a router that is held for longer makes the next phases wait for minutes
_BATCH_SECONDS = 4.0
_BATCH_CONNECTIONS = 4
_PAUSE = 2.0  # seconds for a held router to be a member again


@dataclass(slots=True)
class Bench:
    """A running stack whose mail goes to the sink."""

    stack: Stack
    sink_port: int
    taken: Taken
    slow: Path  # while it is there, the sink is slow for the destination that it names
    bare_port: int
    seconds: float
    accepted: int = 0  # by ingest, in all phases so far

    async def prepare(self) -> None:
        """A topic for the bare handler, and everything warm: the JVM needs some ten thousand requests."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.stack.description["kafka"])
        await admin.start()
        with contextlib.suppress(TopicAlreadyExistsError):
            await admin.create_topics([NewTopic(bare.TOPIC, bare.PARTITIONS, 1)])
        await admin.close()
        credentials = await asyncio.to_thread(Layout(self.stack.run_dir, self.stack.port_base).secrets.read_bytes)
        await add_unsigned_domain(credentials, self.stack.description["kafka"])
        await eventually(self._takes_unsigned, within=10, every=0.1)
        await self.drained(await self.client().closed_loop(min(20.0, self.seconds), CONNECTIONS))

    def phases(self) -> dict[str, Callable[[], Awaitable[Figures]]]:
        """What is measured here, by name, in this order."""
        return {
            "bare": self._bare,
            "idle": self._idle,
            "accept": self._accept,
            "batch": self._batches,
            "path": self._path,
            "signed": self._signed,
            "latency": self._latency,
            "naive": self._naive_scripts,
        }

    async def _bare(self) -> Figures:
        figures: Figures = {}
        with beside("tests.bench.bare", self.bare_port, self.stack.description["kafka"]) as pid:
            await Client(self.bare_port, "none").closed_loop(3.0, CONNECTIONS)
            meter = Meter({"bare": pid})
            load = await Client(self.bare_port, "none").closed_loop(self._held_seconds, CONNECTIONS)
            figures["bare accepted/s"] = load.rate
            figures["bare CPU-s per 1,000"] = meter.read()["bare"] / len(load.ids) * 1000
            load = await Client(self.bare_port, "none").open_loop(self.seconds, PER_SECOND)
            return figures | percentiles("bare at 100/s", load.latencies())

    @property
    def _held_seconds(self) -> float:
        return min(self.seconds, _HELD_SECONDS)

    async def _accept(self) -> Figures:
        figures: Figures = {}
        for name, keyed in (("plain", False), ("keyed", True)):
            figures |= await self._accept_alone(name, self.client(keyed=keyed), self._held_seconds)
        client = self.client(content=mails.from_template)
        return figures | await self._accept_alone("template", client, self._held_seconds)

    async def _path(self) -> Figures:
        return await self._end_to_end(mails.body)

    async def _signed(self) -> Figures:
        found = await self._end_to_end(mails.signed)
        return {f"signed: {name}": value for name, value in found.items()}

    async def _latency(self) -> Figures:
        load = await self.client().open_loop(self.seconds, PER_SECOND)
        figures = percentiles("accept at 100/s", load.latencies())
        await self.drained(load)
        return figures | await self._to_the_server()

    async def _naive_scripts(self) -> Figures:
        plain = self._naive("naive", self._held_seconds)
        return plain | self._naive("naive, signed by dkimpy", self._held_seconds, "signed")

    async def _takes_unsigned(self) -> bool:
        """Whether ingest knows the second domain. What it takes meanwhile is counted."""
        load = await self.client().each(1)
        if load.ids:
            await self.drained(load)
        return bool(load.ids)

    async def _idle(self) -> Figures:
        """What it costs to be there: long polls, leases, proofs of freshness."""
        meter, began = Meter(self._pids()), time.monotonic()
        await asyncio.sleep(min(self.seconds, _HELD_SECONDS))
        minutes = (time.monotonic() - began) / 60
        used = meter.read()
        return {f"idle CPU-s per minute: {name}": used[name] / minutes for name in MEASURED}

    async def _accept_alone(self, name: str, client: Client, seconds: float, connections: int = CONNECTIONS) -> Figures:
        """Ingest and the broker with the router held, as the bare handler had the machine; then the rest catches up."""
        meter = Meter(self._pids())
        with held(self.stack.pid("router")):
            load = await client.closed_loop(seconds, connections)
            used = meter.read()
        await asyncio.sleep(_PAUSE)
        await self.drained(load)
        return {
            f"{name} accepted/s": load.rate,
            f"{name} ingest CPU-s per 1,000": used["ingest"] / len(load.ids) * 1000,
            f"{name} kafka CPU-s per 1,000": used["kafka"] / len(load.ids) * 1000,
        }

    async def _batches(self) -> Figures:
        """A thousand mails a request. Their rate is what a core of ingest accepts; the wall's has the broker in it."""
        client = self.client(path="/v1/messages/batch", content=mails.batch)
        found = await self._accept_alone("batch of 1000", client, min(self.seconds, _BATCH_SECONDS), _BATCH_CONNECTIONS)
        found["batch of 1000 mails/s of an ingest core"] = 1000 / found["batch of 1000 ingest CPU-s per 1,000"]
        return found

    async def _end_to_end(self, content: Callable[[int], bytes]) -> Figures:
        """All of it at once, from the first request until the last event is in ClickHouse."""
        meter = Meter(self._pids())
        load = await self.client(content=content).closed_loop(self.seconds, CONNECTIONS)
        count = len(load.ids)
        await self.drained(load)
        took, used = time.monotonic() - load.began, meter.read()
        figures: Figures = {"end to end mails/s": count / took, "accepted/s beside the pipeline": load.rate}
        for name in MEASURED:
            figures[f"CPU-s per 1,000: {name}"] = used[name] / count * 1000
        figures["CPU-s per 1,000: all"] = sum(used.values()) / count * 1000
        return figures

    async def _to_the_server(self) -> Figures:
        """From the moment a request is due until the mail server has said 250."""
        meter = Meter(self._pids())
        load = await self.client().open_loop(self.seconds, END_TO_END_PER_SECOND)
        await self.drained(load)
        used = meter.read()
        taken = self.taken.moments
        figures = percentiles(
            "accept to 250 at 50/s", [taken[i] - due for i, due in zip(load.ids, load.due, strict=True)]
        )
        figures |= percentiles(
            "202 to 250 at 50/s", [taken[i] - answered for i, answered in zip(load.ids, load.answered, strict=True)]
        )
        figures["CPU-s per 1,000 at 50/s: all"] = sum(used.values()) / len(load.ids) * 1000
        return figures

    def _naive(self, name: str, seconds: float, *more: str) -> Figures:
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.naive", str(self.sink_port), str(seconds), str(CONNECTIONS), *more],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        after = os.times()
        sent, took = (float(word) for word in done.stdout.split())
        used = after.children_user - before.children_user + after.children_system - before.children_system
        return {f"{name} mails/s": sent / took, f"{name} CPU-s per 1,000": used / sent * 1000}

    def client(
        self, *, keyed: bool = False, path: str = "/v1/messages", content: Callable[[int], bytes] = mails.body
    ) -> Client:
        return Client(self.stack.port_base, self.stack.key("live"), keyed=keyed, path=path, content=content)

    def _pids(self) -> dict[str, int]:
        return {name: self.stack.pid(name) for name in MEASURED}

    async def drained(self, load: Load) -> None:
        """Until the sink has all of them, and all of their events are in ClickHouse."""
        self.accepted += len(load.ids)
        await self.all_taken(load)
        patience = _patience(load)

        async def inserted() -> bool:
            return await self.rows() >= EVENTS_PER_MAIL * self.accepted

        await eventually(inserted, within=patience, every=0.2)
        await self.stack.message_when(load.ids[-1].decode(), "delivered")

    async def all_taken(self, load: Load) -> None:
        """Until the sink has all of them."""
        await until(lambda: self.count_taken(load) == len(load.ids), within=_patience(load), every=0.3)

    def count_taken(self, load: Load) -> int:
        """How many of them the sink has now."""
        self.taken.read()
        return sum(one in self.taken.moments for one in load.ids)

    async def rows(self) -> int:
        """Events that analytics has inserted since it began."""
        url = next(p["url"] for p in self.stack.description["processes"] if p["service"] == "analytics")
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
            text = await response.text()
        return sum(
            int(float(value))
            for value in re.findall(r'^analytics_rows_total\{table="events_raw"\} (\S+)', text, re.MULTILINE)
        )


def _patience(load: Load) -> float:
    return 60 + len(load.ids) / 25
