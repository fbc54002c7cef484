"""`POST /v1/dead-letters/…/redrive` (R29): one message that failed, or many, sent once more; accepted as any other request to
send is (handlers.py), with the content of the originals in the place of a body.

Who helps a request finds the same originals by its claim: it must never look for them anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from chassis.budget import NoRoom, Room
from chassis.ids import MessageId, MessageIds, new_id
from chassis.log import LogUnavailable
from schemas.idempotency import Claim
from schemas.inputs import Submit
from schemas.mail import Content
from services.ingest.domain.acceptance import accepted_by, answer_of, claim_of
from services.ingest.domain.access import Caller
from services.ingest.domain.batch import AcceptedItem, batch_claim, items_by
from services.ingest.domain.faults import Refused
from services.ingest.domain.idempotency import KeyedBody, read_key
from services.ingest.domain.redrives import (
    Wanted,
    check_nothing_said,
    content_gone,
    not_dead,
    read_wanted,
    redrive_answer,
    submission_of,
)
from services.ingest.domain.submission import Submission, parse_object
from services.ingest.drafting import RETRY_AFTER_SECONDS, Drafting, Origin
from services.ingest.ports import AnalyticsAway, ContentsAway, ContentsGone, DeadLetters, KeptContents, Originals
from services.ingest.sendings import Made, drafted, turn

PATH = "/v1/dead-letters"
# Of all mails of a request, as of the body of one that sends: what is read of them is held until it is answered.
MAX_OCTETS = 50 * 1024 * 1024
ROOM_SECONDS = 5.0
Found = Submission | Refused


@dataclass(frozen=True, slots=True)
class Failed:
    """Finds what failed messages were made from."""

    ids: MessageIds
    letters: DeadLetters
    originals: Originals
    contents: KeptContents

    async def among(self, caller: Caller, message_ids: Sequence[str], request_id: str, room: Room) -> list[Found]:
        """What each was, or why it can not be sent again. Raises Refused where that is no message's fault."""
        dead = await self._dead(caller, message_ids, request_id)
        found = await self.submissions(caller, [each for each in message_ids if each in dead], room)
        return [found.get(message_id) or not_dead() for message_id in message_ids]

    async def matching(self, caller: Caller, wanted: Wanted, request_id: str) -> list[str]:
        try:
            return await self.letters.matching(caller, wanted.filters, wanted.limit, request_id)
        except AnalyticsAway as error:
            raise _unavailable("The read side, which knows what has failed, does not answer.") from error

    async def submissions(self, caller: Caller, message_ids: Sequence[str], room: Room) -> dict[str, Found]:
        """Of messages of the caller's project. Raises Refused (503)."""
        places = [place for each in message_ids if (place := self._own(caller, each)) is not None]
        try:
            if len(places) > 1:
                await room.grow(MAX_OCTETS, within=ROOM_SECONDS)
            submits = await self.originals.submits(places, MAX_OCTETS)
        except NoRoom as error:
            raise _unavailable("Too many large requests are at hand.") from error
        except LogUnavailable as error:
            raise _unavailable("The log, which has the content, does not answer.") from error
        found, octets = dict[str, Found](), 0
        for place in places:
            submit = submits.get(place.text)
            octets += 0 if submit is None else submit.size
            if place.text not in submits or octets > MAX_OCTETS:
                found[place.text] = _unavailable("There was no time, or no room, for this one: ask again for the rest.")
            else:
                found[place.text] = await self._submission(caller, submit, room)
            await turn(len(found))
        return found

    async def _dead(self, caller: Caller, message_ids: Sequence[str], request_id: str) -> frozenset[str]:
        """Others' ids, and what is no id, are not even asked for."""
        own = [each for each in message_ids if self._own(caller, each) is not None]
        try:
            return await self.letters.among(caller, own, request_id) if own else frozenset()
        except AnalyticsAway as error:
            raise _unavailable("The read side, which knows what has failed, does not answer.") from error

    async def _submission(self, caller: Caller, submit: Submit | None, room: Room) -> Found:
        if submit is None:
            return content_gone()
        try:
            return submission_of(submit, await self._content(submit, room), caller)
        except ContentsGone:
            return content_gone()
        except Refused as refused:
            if refused.status >= 500:
                raise
            return refused

    async def _content(self, submit: Submit, room: Room) -> Content:
        """All of it, wherever it lies: the new message gets a copy of its own, for blobs are never shared."""
        blob = submit.content.blob
        if blob is None:
            return submit.content
        try:
            await room.grow(blob.size, within=ROOM_SECONDS)
            stored = Content.model_validate(orjson.loads(await self.contents.fetch(blob)))
        except (ContentsAway, NoRoom) as error:
            raise _unavailable("Large content can not be read at this moment.") from error
        parts = {"text": stored.text, "html": stored.html, "attachments": stored.attachments, "blob": None}
        return submit.content.model_copy(update=parts)

    def _own(self, caller: Caller, message_id: str) -> MessageId | None:
        return self.ids.verify(message_id, caller.project_id)


class OneRedrive:
    """One message, named by the path. `room`: the memory of this request."""

    takes_its_time = True

    def __init__(self, drafting: Drafting, failed: Failed, caller: Caller, message_id: str, room: Room) -> None:
        self.path = f"{PATH}/{message_id}/redrive"
        self._drafting = drafting
        self._failed = failed
        self._caller = caller
        self._message_id = message_id
        self._room = room

    def parse(self, raw: bytes | bytearray, key_headers: Sequence[str]) -> KeyedBody:
        return _parsed(raw, key_headers)

    async def make(self, caller: Caller, request_id: str | None, keyed: KeyedBody) -> Made:
        check_nothing_said(keyed.body)
        (found,) = await self._failed.among(caller, [self._message_id], request_id or "", self._room)
        now_ms = self._drafting.clock.now_ms()
        origin = Origin(caller, new_id("sub", now_ms), now_ms, "api", request_id)
        (outcome,) = await drafted(self._drafting, origin, [found])
        if isinstance(outcome, Refused):
            raise outcome
        return Made([outcome], answer_of(outcome.submission, outcome.accepted))

    def claim(self, made: Made, *, claim_id: str, fingerprint: str, valid_until_ms: int) -> Claim:
        (item,) = made.items
        return claim_of(
            item.accepted, claim_id=claim_id, fingerprint=fingerprint, answer=made.answer, valid_until_ms=valid_until_ms
        )

    async def again(self, claim: Claim, keyed: KeyedBody) -> Sequence[AcceptedItem]:
        del keyed  # whom it meant, the claim says
        found = await self._failed.submissions(_as_the_first(self._caller, claim), [self._message_id], self._room)
        return [AcceptedItem(0, _sound(found[self._message_id]), accepted_by(claim))]


class ManyRedrives:
    """Those that the body names, or describes; each is judged for itself."""

    path = f"{PATH}/redrive"
    takes_its_time = True

    def __init__(self, drafting: Drafting, failed: Failed, caller: Caller, room: Room) -> None:
        self._drafting = drafting
        self._failed = failed
        self._caller = caller
        self._room = room

    def parse(self, raw: bytes | bytearray, key_headers: Sequence[str]) -> KeyedBody:
        return _parsed(raw, key_headers)

    async def make(self, caller: Caller, request_id: str | None, keyed: KeyedBody) -> Made:
        wanted = read_wanted(keyed.body)
        message_ids = wanted.message_ids
        if message_ids is None:
            message_ids = tuple(await self._failed.matching(caller, wanted, request_id or ""))
        found = await self._failed.among(caller, message_ids, request_id or "", self._room)
        now_ms = self._drafting.clock.now_ms()
        origin = Origin(caller, new_id("bat", now_ms), now_ms, "batch", request_id)
        outcomes = await drafted(self._drafting, origin, found)
        items = [outcome for outcome in outcomes if isinstance(outcome, AcceptedItem)]
        return Made(items, redrive_answer(origin.submission_id, message_ids, outcomes))

    def claim(self, made: Made, *, claim_id: str, fingerprint: str, valid_until_ms: int) -> Claim:
        return batch_claim(
            made.items, claim_id=claim_id, fingerprint=fingerprint, answer=made.answer, valid_until_ms=valid_until_ms
        )

    async def again(self, claim: Claim, keyed: KeyedBody) -> Sequence[AcceptedItem]:
        del keyed  # whom it meant, the claim says
        originals = [item.redrive_of or "" for item in claim.items]
        found = await self._failed.submissions(_as_the_first(self._caller, claim), originals, self._room)
        return [
            AcceptedItem(index, _sound(found[original]), accepted)
            for original, (index, accepted) in zip(originals, items_by(claim), strict=True)
        ]


def _parsed(raw: bytes | bytearray, key_headers: Sequence[str]) -> KeyedBody:
    body = parse_object(raw) if raw else {}
    return KeyedBody(body, read_key(key_headers, {}).key, octets=len(raw))


def _as_the_first(caller: Caller, claim: Claim) -> Caller:
    """Who helps may hold another key of the project."""
    return replace(caller, environment=claim.environment)


def _sound(found: Found) -> Submission:
    if isinstance(found, Refused):
        raise found
    return found


def _unavailable(message: str) -> Refused:
    return Refused("unavailable", message, retry_after=RETRY_AFTER_SECONDS)
