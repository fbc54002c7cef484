"""The claim log on Kafka: who holds an idempotency key is who comes first in the log (R3)."""

import asyncio
from functools import lru_cache

from chassis.claims import ClaimOf, Claims, CloseOf, Winner
from chassis.clock import Clock
from chassis.ids import derived_id
from chassis.log import Incoming, Log, LogUnavailable, Outgoing, outgoing
from chassis.tail import Tail
from chassis.telemetry import logger
from schemas.envelope import MalformedRecord, Payload, decode, seal
from schemas.idempotency import IDEMPOTENCY, Claim, Done
from schemas.topics import TOPICS
from services.ingest import metrics
from services.ingest.ports import Claimed

_DONE_TOGETHER = 0.005  # seconds: those who wait for it wait for half a second
_DONE_WITHIN = 5.0  # seconds: nobody waits for it, and losers help where it does not come
_SMALL_CLAIM = 4096  # bytes: a single mail's has some 700
_TOPIC = TOPICS["idempotency"]
_log = logger("idempotency")


def read(record: Incoming) -> ClaimOf | CloseOf | None:
    """What a record of the claim log says."""
    try:
        data = _decoded(record.value)
    except MalformedRecord as error:
        _log.error("claim_unreadable", partition=record.partition, offset=record.offset, reason=str(error))
        metrics.unreadable_claims.inc()
        return None
    match data:
        case Claim():
            return ClaimOf(record.key, data.claim_id, data.valid_until_ms)
        case Done():
            return CloseOf(record.key, data.claim_id)
        case _:
            return None


class LogIdempotency:
    """The index of the claim log, and the way to add to it."""

    def __init__(self, log: Log, tail: Tail, claims: Claims, clock: Clock) -> None:
        self._log = log
        self._tail = tail
        self._claims = claims
        self._clock = clock
        self._closed_claims: list[Outgoing] = []
        self._announcing: asyncio.Task[None] | None = None
        self._following = False

    async def start(self) -> None:
        """Read the whole log; requests with a key are answered 503 until then."""
        await self._tail.start()
        await asyncio.gather(*(self._claims.follow(partition) for partition in range(_TOPIC.partitions)))
        self._following = True

    async def stop(self) -> None:
        if self._announcing is not None:
            await self._announcing
        await self._tail.stop()
        self._claims.close()

    def ready(self) -> bool:
        return self._following and self._claims.ready()

    def holder(self, key: str) -> Claimed | None:
        winner = self._claims.winner(key)
        return None if winner is None else _claimed(winner)

    async def claim(self, key: str, project_id: str, claim: Claim, *, within: float) -> Claimed:
        record = outgoing(
            _TOPIC,
            seal(
                claim,
                record_id=claim.claim_id,
                source="ingest",
                subject=claim.message_ids[0],
                time_ms=claim.created_at_ms,
                project_id=project_id,
            ),
            key=key,
            valid_until_ms=claim.valid_until_ms,
        )
        return _claimed(await self._claims.claim(record, within=within))

    async def wait_done(self, key: str, *, within: float) -> bool:
        return await self._claims.closed(key, within=within) is not None

    def announce_done(self, key: str, project_id: str, claim_id: str) -> None:
        envelope = seal(
            Done(claim_id=claim_id),
            record_id=derived_id("don", claim_id),
            source="ingest",
            subject=claim_id,
            time_ms=self._clock.now_ms(),
            project_id=project_id,
        )
        self._closed_claims.append(outgoing(_TOPIC, envelope, key=key))
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self._announce(), name="idempotency-done")

    async def _announce(self) -> None:
        """All that came together in a moment goes out together."""
        await self._clock.sleep(_DONE_TOGETHER)
        while self._closed_claims:
            records, self._closed_claims = self._closed_claims, []
            try:
                await self._log.append(records, within=_DONE_WITHIN)
            except LogUnavailable as error:
                _log.warning("done_not_announced", claims=len(records), reason=str(error))


def _claimed(winner: Winner) -> Claimed:
    claim = _decoded(winner.value)
    assert isinstance(claim, Claim), "only a claim wins a key"
    return Claimed(claim, winner.timestamp_ms, winner.closed_by is not None)


def _decoded(value: bytes | None) -> Payload:
    """A claim is decoded when it is written, when it is read back and when it has won: within milliseconds, the same bytes.

    Raises MalformedRecord. A batch's claim, which may be large, is not kept.
    """
    return _remembered(value) if value is None or len(value) <= _SMALL_CLAIM else decode(value, IDEMPOTENCY).data


@lru_cache(maxsize=256)
def _remembered(value: bytes | None) -> Payload:
    data: Payload = decode(value, IDEMPOTENCY).data
    return data
