"""Commands about one message (R6, R7): what may be asked, and what the router's verdict means to the one who asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from chassis.ids import derived_id
from schemas.envelope import to_timestamp
from schemas.replies import Verdict
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.fields import faults_of_names
from services.ingest.domain.times import Times, check_times, read_time

CommandKind = Literal["cancel", "reschedule", "release"]
AGAIN_HINT = "Asking again is harmless: what was decided once is answered again. Retry after the time in Retry-After."

_TOO_LATE_HINT = "It is too late for that; read the message to see what became of it. Do not retry."
# The router's reasons, as far as they have words of their own; 404 for what has left, as if it were gone (R7).
_REFUSALS: dict[str, tuple[str, str]] = {
    "being_sent": ("not_found", "This message is being sent."),
    "already_sent": ("not_found", "This message was already sent."),
    "bounced": ("not_found", "This message was already sent, and came back."),
    "suppressed": ("conflict", "This message is not sent: its recipient is on the suppression list."),
    "expired": ("conflict", "This message is not sent: its `deliver_before` has passed."),
    "not_scheduled": ("conflict", "This message is not scheduled."),
    "not_held": ("conflict", "This message is not held."),
    "after_deliver_before": ("conflict", "The new time is not before this message's `deliver_before`."),
    "content_not_kept": (
        "conflict",
        "The content of this message is not kept until the new time; choose an earlier one.",
    ),
    "domain_not_verified": (
        "conflict",
        "The domain that this message is from is not verified any more; verify it first.",
    ),
    "no_content": ("conflict", "This message can not go on: its content is no longer there."),
}


@dataclass(frozen=True, slots=True)
class Asking:
    """One HTTP request, by what it is known: its Idempotency-Key, or else its X-Request-Id."""

    idempotency_key: str | None
    request_id: str


def read_scheduled(body: Mapping[str, Any], now_ms: int) -> int:
    """`{"scheduled_time"}` as Unix ms. Raises Refused (422)."""
    faults = faults_of_names(body, frozenset({"scheduled_time"}), frozenset())
    scheduled_ms = read_time(body, "scheduled_time", faults)
    if body.get("scheduled_time") is None:
        faults.append(Fault("scheduled_time", "required", "Give the new time."))
    if faults or scheduled_ms is None:
        raise invalid(faults)
    check_times(Times(scheduled_ms), now_ms)
    return scheduled_ms


def command_id(project_id: str, message_id: str, what: str, asking: Asking) -> str:
    """The same for every repeat of one request: the router answers a repeat as it did the first.

    `what` tells apart the commands of a client that sends one id with all of its requests.
    """
    key = asking.idempotency_key
    name = f"request:{asking.request_id}" if key is None else f"key:{key}"
    return derived_id("cmd", project_id, message_id, what, name)


def check_done(verdict: Verdict) -> None:
    """Raises Refused: 404 where it is unknown, or has left already; 409 where its state does not allow the command."""
    match verdict.verdict:
        case "done":
            return
        case "unknown_message":
            raise no_such_message()
        case "refused":
            raise _refusal(verdict)
        case _:
            assert_never(verdict.verdict)


def no_such_message() -> Refused:
    """One answer for an id that is malformed, forged, another project's or unknown (D78)."""
    return Refused("not_found", "There is no such message.")


def no_verdict() -> Refused:
    return Refused("unavailable", "The command was not decided in time.", retry_after=2, hint=AGAIN_HINT)


def brief_view(verdict: Verdict) -> dict[str, Any]:
    """What is certain of the message after the command, for those who may not read it, or before it can be read."""
    scheduled_ms = verdict.scheduled_ms
    return {
        "message_id": verdict.message_id,
        "status": verdict.status,
        "scheduled_time": None if scheduled_ms is None else to_timestamp(scheduled_ms),
    }


def shows(message: Mapping[str, Any], verdict: Verdict) -> bool:
    """Whether the read side has seen what the verdict speaks of."""
    return any(event.get("sequence", 0) >= verdict.sequence for event in message.get("timeline", ()))


def _refusal(verdict: Verdict) -> Refused:
    reason = verdict.reason or "unknown"
    code, message = _REFUSALS.get(reason, ("conflict", f"This message does not allow it: {reason}."))
    if verdict.status is not None:
        message += f" Its status is `{verdict.status}`."
    return Refused(code, message, hint=_TOO_LATE_HINT if code == "not_found" else None)
