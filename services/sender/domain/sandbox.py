"""The sandbox's answers: what becomes of a test key's mail, by the address it goes to (R13).

Pure. Any address takes its mail; the ones below, at the sandbox's own domain, do what their name says, so that every way
a mail can end can be tried. `+anything` after the name is allowed.
"""

from collections.abc import Mapping

from schemas.deliveries import AttemptRecorded, Delivery
from schemas.envelope import to_ms, to_timestamp
from schemas.inputs import Feedback
from schemas.sandbox import SANDBOX_DOMAIN, SandboxMail
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome

# Of a mail's bytes. JSON makes them longer (each line's end by two), and a record of the topic has twice as many.
MOST_BYTES = 900_000

_TAKEN = Outcome("delivered", "delivered", "reply", "250 2.0.0 Ok: taken by the sandbox", 250, "2.0.0", "accepted")
_ANSWERS: Mapping[str, Outcome] = {
    "delivered": _TAKEN,
    "complaint": _TAKEN,
    "bounce": Outcome(
        "permanent", "invalid_recipient", "rcpt", "550 5.1.1 No such user (sandbox)", 550, "5.1.1", "no_user"
    ),
    "defer": Outcome(
        "temporary", "transient", "rcpt", "421 4.3.2 Try again later (sandbox)", 421, "4.3.2", "transient"
    ),
    "unknown": Outcome("unknown", "unknown", "reply"),
}


def answer_to(recipient: str) -> Outcome:
    return _ANSWERS.get(_magic_name(recipient), _TAKEN)


def is_taken(outcome: Outcome) -> bool:
    """Whether the mail lies in the inbox: an `unknown` one may have arrived, and here has."""
    return outcome.outcome in {"delivered", "unknown"}


def mail_of(delivery: Delivery, mail: Mail, outcome: Outcome, now_ms: int) -> SandboxMail:
    truncated = len(mail.data) > MOST_BYTES
    return SandboxMail(
        message_id=delivery.message_id,
        recipient=delivery.recipient,
        attempt=delivery.attempt,
        from_=delivery.content.from_,
        subject=delivery.content.subject,
        outcome="unknown" if outcome.outcome == "unknown" else "delivered",
        taken_at=to_timestamp(now_ms),
        size=len(mail.data),
        mime=None if truncated else mail.data.decode(),
        truncated=truncated,
    )


def complaint_about(delivery: Delivery, record: AttemptRecorded) -> Feedback | None:
    """What the recipient `complaint@` says once it has the mail: the same at each repetition."""
    is_asked_for = delivery.environment == "test" and _magic_name(delivery.recipient) == "complaint"
    if not is_asked_for or record.outcome != "delivered" or record.detail is None:
        return None
    return Feedback(
        message_id=delivery.message_id,
        feedback_id=f"fbk_{delivery.message_id}_sandbox",
        kind="complaint",
        received_at_ms=to_ms(record.detail.finished_at),
        provider=SANDBOX_DOMAIN,
        by="sandbox",
    )


def _magic_name(recipient: str) -> str:
    """The name before `+` of an address at the sandbox's domain, in lower case; "" for any other address."""
    local, _, domain = recipient.lower().rpartition("@")
    return local.partition("+")[0] if domain == SANDBOX_DOMAIN else ""
