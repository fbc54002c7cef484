"""Large values in object storage, a folder or any URL that obstore knows: what is too large for Kafka.

A blob is written before the record that names it, is never changed, and goes by age alone: so a crash between the two
leaves an orphan, which the sweeper takes with the rest of its day. What is read is what was written, or is not given out.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from chassis.blob_keys import is_over, sha256_of

_OFF_THE_LOOP = 256 * 1024  # bytes from which on a hash is worth a thread

T = TypeVar("T")


class StorageAway(Exception):
    """The storage does not answer, or refuses: later it may."""


class BlobMissing(Exception):
    """The storage answers, and has no such blob, or one with other bytes."""


def open_storage(url: str) -> ObjectStore:
    """`url` as `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///…`, or a folder, which is made. Raises ValueError.

    Credentials are found where the provider's own tools find them (AWS_…, GOOGLE_…, AZURE_…).
    """
    if "://" not in url:
        return LocalStore(Path(url).absolute(), mkdir=True, automatic_cleanup=True)
    if url.startswith("file:"):
        return from_url(url, mkdir=True, automatic_cleanup=True)
    try:
        return from_url(url)
    except BaseError as error:
        raise ValueError(f"no object storage by this URL: {type(error).__name__}") from error


def flush(path: Path) -> None:
    """Have what was written to this file, or the names in this folder, on the disk, not in the system's memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Blobs:
    """One storage. `within`: seconds after which it counts as away; `flush`: how a folder's files get onto the disk."""

    def __init__(self, storage: ObjectStore, *, within: float, flush: Callable[[Path], None] = flush) -> None:
        self._storage = storage
        self._within = within
        self._flush = flush
        self._folder = Path(storage.prefix or "/") if isinstance(storage, LocalStore) else None

    async def put(self, key: str, data: bytes) -> None:
        """Returns when the storage has all of it, for good. A repeat writes the same. Raises StorageAway.

        In a folder that is: flushed, so that a power cut takes no more than kill -9 does.
        """
        await self._bounded(self._put(key, data))

    async def get(self, key: str, sha256: str) -> memoryview:
        """The bytes with this hash. Raises StorageAway, BlobMissing."""
        data = await self._bounded(self._read(key))
        found = await asyncio.to_thread(sha256_of, data) if len(data) > _OFF_THE_LOOP else sha256_of(data)
        if found != sha256:
            raise BlobMissing(f"{key} holds other bytes than were written")
        return data

    async def sweep(self, now_ms: int) -> int:
        """Delete all blobs whose day is over, whoever they belong to; says how many. Raises StorageAway.

        Several may do so at once: what another has deleted is deleted.
        """
        days = (await self._bounded(self._storage.list_with_delimiter_async()))["common_prefixes"]
        return sum([await self._sweep_day(day) for day in days if is_over(day, now_ms)])

    async def _sweep_day(self, day: str) -> int:
        swept = 0
        while keys := await self._bounded(self._first_of(day)):
            for key in keys:
                await self._bounded(self._delete(key))
            swept += len(keys)
        return swept

    async def _first_of(self, day: str) -> list[str]:
        async for entries in self._storage.list(day, chunk_size=1000):
            return [entry["path"] for entry in entries]
        return []

    async def _delete(self, key: str) -> None:
        try:
            await self._storage.delete_async(key)
        except FileNotFoundError:
            return

    async def _put(self, key: str, data: bytes) -> None:
        # In one piece: in a folder it appears whole or not at all.
        await self._storage.put_async(key, data, use_multipart=False)
        if self._folder is not None:
            await asyncio.to_thread(self._flush_all, self._folder, self._folder / key)

    def _flush_all(self, folder: Path, file: Path) -> None:
        """The bytes, then the names that lead to them: the folders of its day and owner may be new."""
        self._flush(file)
        for parent in file.parents:
            self._flush(parent)
            if parent == folder:
                return

    async def _read(self, key: str) -> memoryview:
        try:
            result = await self._storage.get_async(key)
            return memoryview(await result.bytes_async())
        except FileNotFoundError as error:
            raise BlobMissing(f"{key} is not there") from error

    async def _bounded(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._within):
                return await work
        except (BaseError, OSError) as error:  # of the folder, or the network; TimeoutError is an OSError
            raise StorageAway(f"{type(error).__name__}: {str(error)[:200]}") from error
