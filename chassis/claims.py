"""Claim by log: append, read back, the first live claim of a key in log order wins. Nothing is locked.

Serves idempotency keys and delivery attempts. It must never decide from the index alone that a key is free: only the
own claim, read back, tells who won.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import assert_never

from chassis.claim_index import PURGE_MARGIN_MS, ClaimIndex, FileIndex, MemoryIndex, Winner
from chassis.clock import Clock
from chassis.log import Incoming, Log, LogUnavailable, Outgoing
from chassis.tail import OffsetPastEnd, Start, Tail
from chassis.telemetry import logger

__all__ = ["ClaimOf", "Claims", "CloseOf", "Reading", "ReleaseOf", "Winner"]

_log = logger("claims")
_STALE = 1.0  # seconds without an answer of the brokers: the index is no ground for an answer any more
_CATCHING_UP = 60.0  # seconds until the end of a partition is asked for again


@dataclass(frozen=True, slots=True)
class ClaimOf:
    """This record claims `key`; void where it landed after `valid_until_ms`."""

    key: str
    claim_id: str
    valid_until_ms: int


@dataclass(frozen=True, slots=True)
class CloseOf:
    """This record closes the claim `claim_id` of `key`; its value is kept beside the claim's."""

    key: str
    claim_id: str


@dataclass(frozen=True, slots=True)
class ReleaseOf:
    """This record gives `key` up: the next claim in the log may win it."""

    key: str
    claim_id: str


Reading = Callable[[Incoming], ClaimOf | CloseOf | ReleaseOf | None]  # None: not ours to judge


class Claims:
    """The index of one claim topic, folded from the log. SQLite on disk where `path` is given, else in memory.

    All who fold the same partition come to the same winners, provided that they begin early enough: at least two
    windows ago. A claim is live for `window` by the broker's clock; the first close of a winner counts.
    """

    def __init__(
        self, log: Log, tail: Tail, clock: Clock, *, topic: str, read: Reading, window: timedelta, path: Path | None
    ) -> None:
        self._log = log
        self._tail = tail
        self._clock = clock
        self._topic = topic
        self._read = read
        self._window_ms = round(window.total_seconds() * 1000)
        self._index: ClaimIndex = MemoryIndex() if path is None else FileIndex(path, topic)
        self._catching_up: dict[int, asyncio.Task[None]] = {}
        self._verdicts: dict[str, Winner | None] = {}  # of own claims on their way, by claim id
        self._closings: dict[str, set[asyncio.Future[Winner]]] = {}
        # What the fold has reached since the last commit of the index, by partition: next offset, broker time.
        self._folded: dict[int, tuple[int, int]] = {}

    async def follow(self, partition: int, start: Start = "earliest") -> None:
        """Fold a partition; with a file, from where the file stands. `caught_up` says when it is done."""
        position = self._index.position(partition)
        try:
            await self._tail.follow(self._topic, partition, self._fold, start if position is None else position)
        except OffsetPastEnd as error:
            _log.warning("claim_index_rebuilt", partition=partition, reason=str(error))
            self._commit()
            self._index.drop_partition(partition)
            await self._tail.follow(self._topic, partition, self._fold, start)
        self._catching_up[partition] = asyncio.create_task(self._catch_up(partition), name=f"claims-{partition}")

    async def unfollow(self, partition: int) -> None:
        """Stop folding it. What is in memory of it is forgotten; a file keeps it for the next time."""
        catching_up = self._catching_up.pop(partition, None)
        if catching_up is not None:
            catching_up.cancel()
        await self._tail.unfollow(self._topic, partition)
        if isinstance(self._index, MemoryIndex):
            self._index.drop_partition(partition)

    async def caught_up(self, partition: int) -> None:
        """Wait until this followed partition is folded to the end it had; as long as it takes."""
        await asyncio.shield(self._catching_up[partition])

    def close(self) -> None:
        """Close the file; the tail must be stopped by then."""
        for catching_up in self._catching_up.values():
            catching_up.cancel()
        self._commit()
        self._index.close()

    def ready(self) -> bool:
        """Caught up once with each followed partition, and the tail polled within the last second."""
        caught_up = all(task.done() for task in self._catching_up.values())
        return caught_up and self._tail.seconds_since_poll() < _STALE

    def winner(self, key: str) -> Winner | None:
        """Who holds `key` as far as this index has read (broker time decides whether the window is over)."""
        found = self._index.get(key)
        return found if found is not None and self._live(found, self._log.broker_now_ms()) else None

    async def claim(self, record: Outgoing, *, within: float) -> Winner:
        """Append a claim and wait for the own tail: the winner may be another's. Raises LogUnavailable.

        The winner is the one at the claim's place in the log, whatever was written since.
        """
        deadline = self._clock.monotonic() + within
        reading = self._read(_as_read(record))
        if not isinstance(reading, ClaimOf):
            raise TypeError(f"{self._topic}: the record for {record.key} is no claim")
        self._verdicts[reading.claim_id] = None
        try:
            (ack,) = await self._log.append([record], within=within)
            left = max(0.0, deadline - self._clock.monotonic())
            await self._tail.applied(ack.topic, ack.partition, ack.offset, within=left)
        finally:
            verdict = self._verdicts.pop(reading.claim_id, None)
        if verdict is None:
            raise LogUnavailable("the claim landed after its time, so it is void")
        return verdict

    async def closed(self, key: str, *, within: float) -> Winner | None:
        """Wait until `key` is closed; None when it was not within `within` seconds."""
        found = self.winner(key)
        if found is not None and found.closed_by is not None:
            return found
        future: asyncio.Future[Winner] = asyncio.get_running_loop().create_future()
        waiting = self._closings.setdefault(key, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(within):
                return await future
        except TimeoutError:
            return None
        finally:
            waiting.discard(future)
            if not waiting:
                self._closings.pop(key, None)

    def forget(self, key: str) -> None:
        """Drop a key that can not be asked for again (in-memory index only)."""
        self._index.drop(key)

    def _fold(self, record: Incoming) -> None:
        reading = self._read(record)
        match reading:
            case ClaimOf():
                self._fold_claim(reading, record)
            case CloseOf():
                self._fold_close(reading, record)
            case ReleaseOf():
                held = self._index.get(reading.key)
                if held is not None and held.claim_id == reading.claim_id:
                    self._index.drop(reading.key)
            case None:
                pass
            case _:
                assert_never(reading)
        if not self._folded:  # the tail applies a whole poll without a pause: one commit for all of it
            asyncio.get_running_loop().call_soon(self._commit)
        self._folded[record.partition] = (record.offset + 1, record.timestamp_ms)

    def _fold_claim(self, claim: ClaimOf, record: Incoming) -> None:
        if record.timestamp_ms > claim.valid_until_ms:
            return
        held = self._index.get(claim.key)
        if held is None or not self._live(held, record.timestamp_ms):
            held = Winner(claim.claim_id, record.value or b"", record.offset, record.timestamp_ms, None)
            self._index.put(claim.key, record.partition, held)
        if claim.claim_id in self._verdicts:
            self._verdicts[claim.claim_id] = held

    def _fold_close(self, close: CloseOf, record: Incoming) -> None:
        held = self._index.get(close.key)
        if held is None or held.claim_id != close.claim_id or held.closed_by is not None:
            return
        held = replace(held, closed_by=record.value or b"")
        self._index.put(close.key, record.partition, held)
        for future in self._closings.get(close.key, ()):
            if not future.done():
                future.set_result(held)

    def _live(self, held: Winner, at_ms: int) -> bool:
        return at_ms <= held.timestamp_ms + self._window_ms

    def _commit(self) -> None:
        if not self._folded:
            return
        positions = {partition: offset for partition, (offset, _) in self._folded.items()}
        kept_ms = self._window_ms + PURGE_MARGIN_MS
        oldest_ms = {partition: now_ms - kept_ms for partition, (_, now_ms) in self._folded.items()}
        self._folded = {}
        self._index.commit(positions, oldest_ms)

    async def _catch_up(self, partition: int) -> None:
        while True:
            try:
                await self._tail.caught_up(self._topic, partition, within=_CATCHING_UP)
            except LogUnavailable as error:
                _log.warning("claims_lag", topic=self._topic, partition=partition, reason=str(error))
                await self._clock.sleep(_STALE)
            else:
                return


def _as_read(record: Outgoing) -> Incoming:
    """The record as it will be read, but for its place and time."""
    return Incoming(record.topic, record.partition or 0, -1, 0, record.key, record.value, record.headers)
