"""What a message waits for, and until when, as its last event tells it to a reader who has a clock (R36).

Pure. Every message that waits has a reason and a next time; only what waits for a person has no time of its own.
"""

from collections.abc import Sequence

from schemas.envelope import Envelope, to_ms
from schemas.events import (
    MessageAccepted,
    MessageComplained,
    MessageEvent,
    MessageHeld,
    MessageOutcome,
    MessageQueued,
    MessageScheduled,
    MessageUnsubscribed,
    MessageWaiting,
)
from schemas.mail import TERMINAL, WaitReason
from services.analytics.domain.answers import Json

_WORDS: dict[WaitReason, str] = {
    "admission": "It is due, and goes as soon as its provider's window has room.",
    "retry_ladder": "The next attempt is made at its time.",
    "greylisted": "The server wants to see it again: the next attempt is made at its time, on the same path.",
    "postponed": "Its provider takes no more at the moment: it is looked at again at its time.",
    "destination_paused": "Its queue is paused: it goes when somebody resumes that.",
    "path_paused": "None of its paths can be taken: it goes as soon as one can.",
    "scheduled": "It goes at the time that its client chose.",
    "held_unknown": "Nobody can know whether it arrived, and it must not go twice: it goes when somebody releases it.",
    "held_policy": "Its sender's domain is not verified any more: it goes when that is mended and somebody releases it.",
    "internal_error": "A record of it could not be read: it goes when somebody releases it.",
}
_FOR_A_PERSON: frozenset[WaitReason] = frozenset({"held_unknown", "held_policy", "internal_error"})
_TIMED = MessageOutcome | MessageAccepted | MessageWaiting | MessageScheduled | MessageComplained | MessageUnsubscribed


def words_of(reason: WaitReason) -> str:
    return _WORDS[reason]


def waiting(events: Sequence[Envelope[MessageEvent]], now_ms: int) -> Json | None:
    """None: it has ended, or an attempt was begun."""
    last = events[-1]
    if last.data.status in TERMINAL:
        return None
    reason, due = _told(last)
    if reason is None:
        return None
    if reason in _FOR_A_PERSON:
        return _view(reason, None, _WORDS[reason])
    if due is None:  # it might go at any moment since then
        return _view(reason, last.time, _WORDS[reason])
    if to_ms(due) > now_ms:
        return _view(reason, due, _WORDS[reason])
    return _view("admission", due, f"{_WORDS['admission']} It may be under way already.")


def _told(event: Envelope[MessageEvent]) -> tuple[WaitReason | None, str | None]:
    data = event.data
    if isinstance(data, MessageQueued):  # what follows is decided at once, and may not have been read yet
        return "admission", None
    if isinstance(data, MessageHeld):
        return data.reason, None
    assert isinstance(data, _TIMED)
    return data.reason, data.next_attempt_at


def _view(reason: WaitReason, next_attempt_at: str | None, text: str) -> Json:
    return {"reason": reason, "next_attempt_at": next_attempt_at, "text": text}
