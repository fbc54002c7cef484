"""Large content on its way to object storage, and out of it when its day is over (R5; D13).

It must never delete by anything but age: whether a message still needs a blob is answered by the day in its name.
"""

import asyncio

from chassis.blobs import BlobMissing, Blobs, StorageAway
from chassis.clock import Clock
from chassis.log import Log
from chassis.service import Crash
from chassis.telemetry import logger
from schemas.mail import Blob
from services.ingest import metrics
from services.ingest.domain.parcels import Parcel
from services.ingest.ports import ContentsAway, ContentsGone

_log = logger("blobs")
SWEEP_SECONDS = 3600.0  # a blob goes within an hour of the end of its day; several replicas sweep, which is harmless


class StoredContents:
    """See `services.ingest.ports.Contents` and `KeptContents`."""

    def __init__(self, blobs: Blobs, clock: Clock) -> None:
        self._blobs = blobs
        self._clock = clock

    async def keep(self, parcel: Parcel) -> None:
        begun = self._clock.monotonic()
        try:
            await self._blobs.put(parcel.blob.key, parcel.data)
        except StorageAway as error:
            metrics.store_failures.inc()
            _log.warning("content_not_stored", reason=str(error))
            raise ContentsAway from error
        metrics.store_seconds.observe(self._clock.monotonic() - begun)

    async def fetch(self, blob: Blob) -> memoryview:
        try:
            return await self._blobs.get(blob.key, blob.sha256)
        except StorageAway as error:
            _log.warning("content_not_read", reason=str(error))
            raise ContentsAway from error
        except BlobMissing as error:
            raise ContentsGone from error


class Sweeper:
    """Sweeps at the start and then every hour, for as long as the service runs."""

    def __init__(self, blobs: Blobs, log: Log, clock: Clock, crash: Crash) -> None:
        self._blobs = blobs
        self._broker_clock = log
        self._clock = clock
        self._crash = crash
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sweeper")
        self._crash.watch(self._task)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await self.sweep()
            await self._clock.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        # The earlier of the two clocks: one that is wrong by a year would delete what is needed.
        now_ms = min(self._clock.now_ms(), self._broker_clock.broker_now_ms())
        try:
            swept = await self._blobs.sweep(now_ms)
        except StorageAway as error:
            _log.warning("sweep_failed", reason=str(error))
            return
        metrics.swept_blobs.inc(swept)
        if swept:
            _log.info("blobs_swept", count=swept)
