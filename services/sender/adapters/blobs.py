"""Mails made from deliveries, and signed; large content is fetched from object storage first (R5, the claim check).

It must never hold more than its budget of memory, nor call a mail undeliverable while its content may still turn up.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson

from chassis import budget
from chassis.blob_keys import kept_until_ms
from chassis.blobs import BlobMissing, Blobs, StorageAway
from schemas.deliveries import Delivery
from schemas.mail import Blob, Content
from services.sender import metrics
from services.sender.adapters.signing import SigningKeys
from services.sender.domain.dkim import Signer, signed
from services.sender.domain.mime import Mail, compose, sender_domain
from services.sender.domain.outcome import Outcome, deferred_by_us, refused_by_us
from services.sender.ports import BrokerClock, NoContent, NoRoom

_TIMES_ITS_SIZE = 3  # see settings: what a mail costs while it is made and sent


class StoredMails:
    """See `services.sender.ports.Mails`."""

    def __init__(self, blobs: Blobs, memory: budget.ByteBudget, clock: BrokerClock, keys: SigningKeys) -> None:
        self._blobs = blobs
        self._memory = memory
        self._clock = clock
        self._keys = keys

    @asynccontextmanager
    async def written(self, delivery: Delivery, project_id: str, *, within: float) -> AsyncIterator[Mail]:
        signers = self._keys.of(project_id, sender_domain(delivery.content))
        blob = delivery.content.blob
        if blob is None:
            yield _mail_of(delivery, signers)
            return
        with self._memory.room() as room:
            try:
                await room.grow(blob.size * _TIMES_ITS_SIZE, within=within)
            except budget.NoRoom as error:
                raise NoRoom from error
            metrics.CONTENT_BYTES.set(self._memory.held)
            # Off the loop, which has leases to keep.
            yield await asyncio.to_thread(_large_mail_of, delivery, await self._fetch(blob), signers)
        metrics.CONTENT_BYTES.set(self._memory.held)

    async def _fetch(self, blob: Blob) -> memoryview:
        try:
            return await self._blobs.get(blob.key, blob.sha256)
        except StorageAway as error:
            metrics.CONTENT_UNAVAILABLE.labels("away").inc()
            raise NoContent(_unavailable()) from error
        except BlobMissing as error:
            is_over = self._clock.broker_now_ms() >= kept_until_ms(blob.key)
            metrics.CONTENT_UNAVAILABLE.labels("gone" if is_over else "missing").inc()
            raise NoContent(_gone() if is_over else _unavailable()) from error


def _mail_of(delivery: Delivery, signers: Sequence[Signer]) -> Mail:
    """Signed as of the message's creation, so that each attempt sends the same bytes."""
    mail = compose(delivery)
    return replace(mail, data=signed(mail.data, signers, delivery.created_at_ms // 1000))


def _large_mail_of(delivery: Delivery, data: memoryview, signers: Sequence[Signer]) -> Mail:
    stored = Content.model_validate(orjson.loads(data))
    whole = {"text": stored.text, "html": stored.html, "attachments": stored.attachments, "blob": None}
    content = delivery.content.model_copy(update=whole)
    return _mail_of(delivery.model_copy(update={"content": content}), signers)


def _unavailable() -> Outcome:
    """Also where the storage has no such blob before its time: a wrong address or a lost folder can be put right."""
    return deferred_by_us(451, "4.3.0", "its content could not be read from storage")


def _gone() -> Outcome:
    return refused_by_us(554, "5.3.0", "its content is no longer in storage")
