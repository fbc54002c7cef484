"""The words of a decision: what comes in (`Given`, `Context`) and what comes out (`Decision`).

Values only: this module must never hold a rule.
"""

from dataclasses import dataclass
from typing import Final

from rules.routing import Chosen
from schemas.events import MessageEvent, SuppressionOrigin
from schemas.inputs import (
    AttemptFinished,
    AttemptPostponed,
    AttemptRefused,
    AttemptUnknown,
    Cancel,
    Due,
    Feedback,
    Recheck,
    Release,
    Reschedule,
    Submit,
)
from schemas.mail import Content, WaitReason
from schemas.replies import Verdict
from schemas.routing import PolicyUse, ScheduleFrom
from services.router.domain.ladder import Ladder


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of this message that nobody can read; it lies in the DLQ at `dead_letter`."""

    message_id: str
    dead_letter: str | None


OpenInput = AttemptFinished | AttemptUnknown | AttemptPostponed | AttemptRefused | Due | Recheck
Given = Submit | OpenInput | Unreadable | Cancel | Reschedule | Release | Feedback


@dataclass(frozen=True, slots=True)
class Listed:
    """Why the recipient stands on the suppression list."""

    reason: str
    source_event_id: str | None


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know beside the state and the input. Times are broker time in ms."""

    now_ms: int
    offset: int  # of the input
    landed_ms: int  # the input's own timestamp
    listed: Listed | None  # as of `checked_at_ms`
    checked_at_ms: int
    room: bool  # the destination's window has room, and nobody waits in front
    ladder: Ladder
    jitter: float  # 0 to 1
    route: Chosen  # where an attempt that starts now goes
    watchdog_ms: int  # how long an attempt may stay without an outcome
    stopped: WaitReason | None = None  # why an attempt may not start now
    lapsed: bool = False  # the sender's domain is not verified any more
    max_age_ms: int | None = None  # from acceptance: no attempt is made later
    schedule_from: ScheduleFrom = "installation"  # whose schedule `ladder` is
    policies: tuple[PolicyUse, ...] = ()  # that decided the ladder and the age
    submitted: Content | None = None  # read again from the log, for a hand-out whose state is thin


@dataclass(frozen=True, slots=True)
class HandOut:
    """Give the attempt to a sender."""

    attempt: int
    dispatch: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep it here. `rank_ms` None keeps its place in the queue, `due_at_ms` None waits for a turn, or for a person."""

    attempt: int
    dispatch: int
    reason: WaitReason
    due_at_ms: int | None
    rank_ms: int | None
    content: Content | None
    waits_for: tuple[str, ...] = ()  # paths, any of which would do
    source_address: str | None = None  # of the attempt that has ended, where a greylist wants to see it again


@dataclass(frozen=True, slots=True)
class Reply:
    """A verdict, for the ingest instance that waits for it."""

    to: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Decision:
    """What one input makes of a message; `NOTHING` where it changes nothing."""

    events: tuple[MessageEvent, ...] = ()
    hand_out: HandOut | None = None
    wait: Wait | None = None
    suppress: SuppressionOrigin | None = None  # put the recipient on the list, for this cause
    unknown_attempt: int | None = None  # nobody can know what became of it
    known_attempt: int | None = None  # a late outcome settled what was unknown
    reply: Reply | None = None  # to a command
    feedback_id: str | None = None  # of the report that this counts


NOTHING: Final = Decision()
