"""What an SMTP conversation means: phase and reply to outcome and category (R25; D38-D48).

Pure. It must never call a mail bounced, or an address dead, for a fault of ours, of the network, or of a server that
talks nonsense; after the final dot, silence and nonsense mean that the server may have the mail.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

from schemas.mail import Category, Phase
from services.sender.domain.classification import SET_UP, Rule, rule_for
from services.sender.domain.replies import Reply

Verdict = Literal["delivered", "temporary", "permanent", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. `reply` is the server's words, or ours where `code` is one we made up (and say so).

    `rule_id` is the rule of the classification table that decided; None where no reply did.
    """

    outcome: Verdict
    category: Category
    phase: Phase
    reply: str | None = None
    code: int | None = None
    enhanced_code: str | None = None
    rule_id: str | None = None


def classify(phase: Phase, reply: Reply) -> Outcome:
    """The outcome of an attempt that this reply ended in this phase."""
    rule = rule_for(phase, reply)
    verdict = _verdict(rule, phase, reply.code)
    return Outcome(verdict, rule.category, phase, reply.text, reply.code, reply.enhanced_code, rule.id)


def _verdict(rule: Rule, phase: Phase, code: int) -> Verdict:
    match rule.act:
        case "deliver":
            return "delivered"
        case "unknown":
            return "unknown"
        case "retry":
            return "temporary"
        case "bounce":
            # What is said before MAIL is about us and the server, never about this mail; and a 4xx is no last word.
            return "permanent" if code >= 500 and phase not in SET_UP else "temporary"
        case _:
            assert_never(rule.act)


def lost(phase: Phase, reason: str) -> Outcome:
    """No answer: could not connect, time-out, or the connection broke. After the dot the server may have the mail."""
    if phase == "reply":
        return Outcome("unknown", "unknown", phase)
    return Outcome("temporary", "no_answer", phase, reason)


def garbled(phase: Phase, seen: str) -> Outcome:
    """Bytes that are no reply. After the dot the server may have the mail."""
    if phase == "reply":
        return Outcome("unknown", "unknown", phase, seen)
    return Outcome("temporary", "protocol_error", phase, seen)


def refused_by_us(code: int, enhanced_code: str, reason: str) -> Outcome:
    """What would be refused for sure is not tried; the reply says that it is ours."""
    reply = f"{code} {enhanced_code} {reason} (not sent: our own verdict)"
    return Outcome("permanent", "rejected", "mail", reply, code, enhanced_code)


def deferred_by_us(code: int, enhanced_code: str, reason: str) -> Outcome:
    """What can not be tried now for a fault of ours; the reply says that it is ours."""
    reply = f"{code} {enhanced_code} {reason} (not sent: our own fault)"
    return Outcome("temporary", "transient", "mail", reply, code, enhanced_code)
