"""What a request to send may ask for: one mail, or a batch of them (R1, R9). Each kind reads its body, drafts its mails,
words its answer and its claim; how they are accepted once is the same for both (handlers.py).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chassis.ids import new_id
from schemas.idempotency import Claim
from schemas.mail import LANE_OF
from services.ingest.domain.acceptance import accepted_by, answer_of, claim_of
from services.ingest.domain.access import Caller
from services.ingest.domain.batch import (
    AcceptedItem,
    batch_answer,
    batch_claim,
    check_all,
    check_size,
    items_by,
    read_batch,
    read_items,
)
from services.ingest.domain.faults import Refused
from services.ingest.domain.idempotency import KeyedBody, read_key
from services.ingest.domain.submission import Submission, parse_object, read_submission
from services.ingest.drafting import Drafting, Origin, Placing, aside

PATH = "/v1/messages"
BATCH_PATH = "/v1/messages/batch"
# For the templates of a batch: a thousand good ones take a second, a thousand bombs would take a minute.
DRAFTING_SECONDS = 10.0
_AT_ONCE = 25  # items between two turns of the others: some milliseconds


@dataclass(frozen=True, slots=True)
class Made:
    """What is to be written of a request, and answered."""

    items: Sequence[AcceptedItem]
    answer: bytes


class Sending(Protocol):
    """One kind of request."""

    path: str
    # Whether drafting has a time of its own, after which that of the log begins.
    takes_its_time: bool

    def parse(self, raw: bytes | bytearray, key_headers: Sequence[str]) -> KeyedBody:
        """Raises Refused (400)."""
        ...

    async def make(self, caller: Caller, request_id: str | None, keyed: KeyedBody) -> Made:
        """Validate, and decide all that is decided once. Raises Refused."""
        ...

    def claim(
        self, made: Made, *, claim_id: str, fingerprint: str, valid_until_ms: int
    ) -> Claim:  # fmt: skip
        """All that a helper needs, beside the identical body."""
        ...

    async def again(self, claim: Claim, keyed: KeyedBody) -> Sequence[AcceptedItem]:
        """What the claim's writer made, from its claim. Raises Refused."""
        ...


class OneMail:
    """`POST /messages`."""

    path = PATH
    takes_its_time = False

    def __init__(self, drafting: Drafting) -> None:
        self._drafting = drafting

    def parse(self, raw: bytes | bytearray, key_headers: Sequence[str]) -> KeyedBody:
        octets, body = len(raw), _parsed(raw)
        return replace(read_key(key_headers, body), octets=octets)

    async def make(self, caller: Caller, request_id: str | None, keyed: KeyedBody) -> Made:
        submission = await aside(keyed.octets, read_submission, keyed.body, keyed.faults)
        now_ms = self._drafting.clock.now_ms()
        origin = Origin(caller, new_id("sub", now_ms), now_ms, "api", request_id)
        place = self._drafting.submissions.place
        submission, accepted = await self._drafting.new(
            origin, submission, lambda filled: place(LANE_OF[filled.priority])
        )
        return Made([AcceptedItem(0, submission, accepted)], answer_of(submission, accepted))

    def claim(
        self, made: Made, *, claim_id: str, fingerprint: str, valid_until_ms: int
    ) -> Claim:  # fmt: skip
        (item,) = made.items
        return claim_of(
            item.accepted,
            claim_id=claim_id,
            fingerprint=fingerprint,
            answer=made.answer,
            valid_until_ms=valid_until_ms,
        )

    async def again(self, claim: Claim, keyed: KeyedBody) -> Sequence[AcceptedItem]:
        accepted = accepted_by(claim)
        submission = await aside(keyed.octets, read_submission, keyed.body)
        submission = await self._drafting.filled(submission, accepted.template)
        return [AcceptedItem(0, submission, accepted)]


class MailBatch:
    """`POST /messages/batch`."""

    path = BATCH_PATH
    takes_its_time = True

    def __init__(self, drafting: Drafting) -> None:
        self._drafting = drafting

    def parse(self, raw: bytes | bytearray, key_headers: Sequence[str]) -> KeyedBody:
        octets, body = len(raw), _parsed(raw)
        return KeyedBody(body, read_key(key_headers, {}).key, octets=octets)

    async def make(self, caller: Caller, request_id: str | None, keyed: KeyedBody) -> Made:
        batch = read_batch(keyed.body)
        found = await self._read(keyed, batch.items)
        check_size(found)
        now_ms = self._drafting.clock.now_ms()
        origin = Origin(caller, new_id("bat", now_ms), now_ms, "batch", request_id)
        outcomes = await drafted(self._drafting, origin, found)
        if batch.strict:
            check_all(outcomes)
        items = [outcome for outcome in outcomes if isinstance(outcome, AcceptedItem)]
        return Made(items, batch_answer(origin.submission_id, outcomes))

    def claim(
        self, made: Made, *, claim_id: str, fingerprint: str, valid_until_ms: int
    ) -> Claim:  # fmt: skip
        return batch_claim(
            made.items, claim_id=claim_id, fingerprint=fingerprint, answer=made.answer, valid_until_ms=valid_until_ms
        )

    async def again(self, claim: Claim, keyed: KeyedBody) -> Sequence[AcceptedItem]:
        found = await self._read(keyed, read_batch(keyed.body).items)
        items = []
        for index, accepted in items_by(claim):
            submission = found[index]
            if isinstance(submission, Refused):
                raise submission
            items.append(AcceptedItem(index, await self._drafting.filled(submission, accepted.template), accepted))
            await turn(len(items))
        return items

    async def _read(self, keyed: KeyedBody, items: Sequence[object]) -> list[Submission | Refused]:
        """Piece by piece: a small body has many items, too."""
        found: list[Submission | Refused] = []
        for first in range(0, len(items), _AT_ONCE):
            found += await aside(keyed.octets, read_items, items[first : first + _AT_ONCE])
            await turn(0)
        return found


async def drafted(
    drafting: Drafting, origin: Origin, found: Sequence[Submission | Refused]
) -> list[AcceptedItem | Refused]:  # fmt: skip
    """Many mails of one request, each judged for itself. Raises Refused where that is no item's fault."""
    ends = drafting.clock.monotonic() + DRAFTING_SECONDS
    place, outcomes = Placing(drafting.submissions), list[AcceptedItem | Refused]()
    for index, submission in enumerate(found):
        outcomes.append(await _outcome(drafting, origin, index, submission, place))
        await turn(index)
        if drafting.clock.monotonic() > ends:
            message = f"The templates of a batch have {DRAFTING_SECONDS:g} s: these take longer. Nothing was queued."
            raise Refused("payload_too_large", message)
    return outcomes


async def _outcome(
    drafting: Drafting, origin: Origin, index: int, submission: Submission | Refused, place: Placing
) -> AcceptedItem | Refused:
    """Raises Refused where it is not the item's fault: then it is the same for all of them."""
    if isinstance(submission, Refused):
        return submission
    try:
        return AcceptedItem(index, *await drafting.new(origin, submission, place))
    except Refused as refused:
        if refused.status >= 500:
            raise
        return refused


def _parsed(raw: bytes | bytearray) -> dict[str, object]:
    """A large body is let go of once it is parsed: there is no room for two."""
    body = parse_object(raw)
    if isinstance(raw, bytearray):
        raw.clear()
    return body


async def turn(done: int) -> None:
    """Now and then, let others have theirs."""
    if done % _AT_ONCE == 0:
        await asyncio.sleep(0)
