"""Mails made from deliveries, signed, with the address that bounces go to; large content is fetched from object storage first (R5, the claim check).

It must never hold more than its budget of memory, nor call a mail undeliverable while its content may still turn up.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson

from chassis import budget
from chassis.blob_keys import kept_until_ms
from chassis.blobs import BlobMissing, Blobs, StorageAway
from chassis.return_path import ReturnPaths
from schemas.deliveries import Delivery
from schemas.mail import Blob, Content
from services.sender import metrics
from services.sender.adapters.signing import Sending, SendingDomains
from services.sender.domain.dkim import signed
from services.sender.domain.mime import Mail, compose, sender_domain
from services.sender.domain.outcome import Outcome, deferred_by_us, refused_by_us
from services.sender.ports import BrokerClock, NoContent, NoRoom

_TIMES_ITS_SIZE = 3  # see settings: what a mail costs while it is made and sent


class StoredMails:
    """See `services.sender.ports.Mails`."""

    def __init__(
        self,
        blobs: Blobs,
        memory: budget.ByteBudget,
        clock: BrokerClock,
        domains: SendingDomains,
        return_paths: ReturnPaths | None,
    ) -> None:
        self._blobs = blobs
        self._memory = memory
        self._clock = clock
        self._domains = domains
        self._return_paths = return_paths

    @asynccontextmanager
    async def written(self, delivery: Delivery, project_id: str, *, within: float) -> AsyncIterator[Mail]:
        sending = self._domains.of(project_id, sender_domain(delivery.content))
        blob = delivery.content.blob
        if blob is None:
            yield self._mail_of(delivery, sending)
            return
        with self._memory.room() as room:
            try:
                await room.grow(blob.size * _TIMES_ITS_SIZE, within=within)
            except budget.NoRoom as error:
                raise NoRoom from error
            metrics.CONTENT_BYTES.set(self._memory.held)
            # Off the loop, which has leases to keep.
            yield await asyncio.to_thread(self._large_mail_of, delivery, await self._fetch(blob), sending)
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

    def _mail_of(self, delivery: Delivery, sending: Sending) -> Mail:
        """Signed as of the message's creation, so that each attempt sends the same bytes."""
        mail = compose(delivery)
        data = signed(mail.data, sending.signers, delivery.created_at_ms // 1000)
        return replace(mail, data=data, envelope_from=self._bounces_to(delivery, sending) or mail.envelope_from)

    def _large_mail_of(self, delivery: Delivery, data: memoryview, sending: Sending) -> Mail:
        stored = Content.model_validate(orjson.loads(data))
        whole = {"text": stored.text, "html": stored.html, "attachments": stored.attachments, "blob": None}
        content = delivery.content.model_copy(update=whole)
        return self._mail_of(delivery.model_copy(update={"content": content}), sending)

    def _bounces_to(self, delivery: Delivery, sending: Sending) -> str | None:
        """The message's own address below the domain of From: aligned with it (RFC 9989), and it names the message."""
        if self._return_paths is None or sending.return_path is None:
            return None
        return self._return_paths.address(delivery.message_id, sending.return_path)


def _unavailable() -> Outcome:
    """Also where the storage has no such blob before its time: a wrong address or a lost folder can be put right."""
    return deferred_by_us(451, "4.3.0", "its content could not be read from storage")


def _gone() -> Outcome:
    return refused_by_us(554, "5.3.0", "its content is no longer in storage")
