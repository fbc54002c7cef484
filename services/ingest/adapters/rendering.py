"""Renders customers' templates in worker processes: a bomb ends its worker, not the service, and never holds this loop.

A worker does one request at a time. What it has to say about templates comes back as a value; a worker that is lost
for another reason is replaced, and the request is made again once, for rendering changes nothing.
"""

import asyncio
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

import services
from chassis.telemetry import logger
from services.ingest import metrics
from services.ingest.domain.faults import Refused
from services.ingest.domain.templates import MAX_RENDERED_OCTETS, Mistake, Part, Rendered, Stopped, mistaken, stopped

# Two mails at a time: rendering takes 0.1 ms, a bomb 50 ms, and one customer's bomb leaves a worker for the others.
WORKERS = 2
# Time by the wall, for a machine so busy that 50 ms of CPU do not come: then it is our fault, not the template's.
WITHIN_SECONDS = 2.0
RETRY_AFTER_SECONDS = 2

_LENGTH = 4
_ROOT = Path(services.__path__[0]).parent
_MODULE = "services.ingest.adapters.render_worker"
_log = logger("rendering")
Json = dict[str, Any]


class WorkerLost(Exception):
    """The process ended, or does not answer."""


class Worker:
    """One guardian with its worker, and the socket to them."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> "Worker":
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env={"PYTHONPATH": str(_ROOT)},
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer)

    async def ask(self, request: bytes) -> Json:
        """Raises WorkerLost."""
        try:
            self._writer.write(len(request).to_bytes(_LENGTH) + request)
            head = await self._reader.readexactly(_LENGTH)
            reply: Json = orjson.loads(await self._reader.readexactly(int.from_bytes(head)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerLost(repr(error)) from error
        return reply

    def hang_up(self) -> None:
        """Both processes end when they see it: at once, or after the 50 ms of a request at hand."""
        self._writer.close()

    async def ended(self) -> None:
        await self._process.wait()


class RenderingPool:
    """Started workers wait here; each is started when one is first needed."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()

    async def start(self) -> None:
        """Nothing: a service that never sees a template starts no process."""

    async def stop(self) -> None:
        for worker in self._all:
            worker.hang_up()
        await asyncio.gather(*(worker.ended() for worker in self._all))
        self._all.clear()
        self._idle.clear()

    async def render(self, parts: Mapping[Part, str], data: Json) -> Rendered:
        """Raises Refused: 422 for what is wrong with the template or its data."""
        reply = await self._ask(parts, data)
        _raise_for(reply, "template.")
        return Rendered(**reply["made"])

    async def variables(self, parts: Mapping[Part, str]) -> list[str]:
        """The names that the sources use. Raises Refused: 422 for what is no template."""
        reply = await self._ask(parts, None)
        _raise_for(reply, "")
        found: list[str] = reply["variables"]
        return found

    async def _ask(self, parts: Mapping[Part, str], data: Json | None) -> Json:
        # Sorted: a repeat with the members in another order is the same request, and must make the same mail.
        request = orjson.dumps(
            {"parts": parts, "data": data, "limit": MAX_RENDERED_OCTETS}, option=orjson.OPT_SORT_KEYS
        )
        try:
            async with asyncio.timeout(WITHIN_SECONDS), self._slots:
                try:
                    return await self._with_worker(request)
                except WorkerLost as error:
                    _log.warning("render_worker_lost", reason=str(error))
                    return await self._with_worker(request)
        except (TimeoutError, WorkerLost, OSError) as error:
            _log.error("rendering_unavailable", reason=repr(error))
            message = "Templates can not be rendered at this moment."
            raise Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS) from error

    async def _with_worker(self, request: bytes) -> Json:
        """A worker that did not answer (also where this task was cancelled) is given up: its answer may still come."""
        worker = self._idle.pop() if self._idle else await self._started()
        answered = False
        try:
            reply = await worker.ask(request)
            answered = True
        finally:
            if answered:
                self._idle.append(worker)
            else:
                self._all.discard(worker)
                worker.hang_up()
        return reply

    async def _started(self) -> Worker:
        worker = await Worker.start()
        self._all.add(worker)
        return worker


def _raise_for(reply: Json, prefix: str) -> None:
    if "stopped" in reply:
        metrics.stopped_renderings.labels(reply["stopped"]).inc()
        raise stopped(Stopped(reply["stopped"]))
    if "faults" in reply:
        mistakes = [Mistake(**fault) for fault in reply["faults"]]
        raise mistaken(mistakes, prefix)
