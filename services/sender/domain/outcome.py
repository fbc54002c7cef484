"""What an SMTP conversation means: phase and reply to outcome and category, by a table that can be read (R25; D38-D48).

Pure. It must never call a mail bounced, or an address dead, for a fault of ours, of the network, or of a server that
talks nonsense; after the final dot, silence and nonsense mean that the server may have the mail.
"""

import re
from dataclasses import dataclass
from typing import Literal

from schemas.mail import Category, Phase
from services.sender.domain.replies import Reply

Verdict = Literal["delivered", "temporary", "permanent", "unknown"]
PERMANENT_PHASES: frozenset[Phase] = frozenset({"mail", "rcpt", "data", "body", "reply"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. `reply` is the server's words, or ours where `code` is one we made up (and say so)."""

    outcome: Verdict
    category: Category
    phase: Phase
    reply: str | None = None
    code: int | None = None
    enhanced_code: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule that matches decides. Patterns are searched from the start: code, enhanced code, text."""

    name: str
    phases: frozenset[Phase]
    code: str
    outcome: Verdict
    category: Category
    enhanced: str = ""  # matched against "" where the reply has none
    text: str = ""


_ANY: frozenset[Phase] = frozenset(
    {"connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "reply"}
)
_SET_UP = _ANY - PERMANENT_PHASES
_BEFORE_DOT: frozenset[Phase] = _ANY - {"reply"}
_DOT: frozenset[Phase] = frozenset({"reply"})
_RCPT: frozenset[Phase] = frozenset({"rcpt"})

RULES: tuple[Rule, ...] = (
    Rule("accepted", _DOT, "2", "delivered", "delivered"),
    # A 3xx after the dot is no answer to it: the server may have the mail.
    Rule("no_answer_to_the_dot", _DOT, "3", "unknown", "unknown"),
    # A positive reply where it is none: the two sides no longer talk about the same command.
    Rule("out_of_step", _BEFORE_DOT, "[23]", "temporary", "protocol_error"),
    Rule("bad_sequence", _ANY, "503", "temporary", "protocol_error"),
    Rule("transient", _ANY, "4", "temporary", "transient"),
    # Greeting, EHLO, STARTTLS, AUTH: about us and the server, never about the recipient.
    Rule("turned_away", _SET_UP, "5", "temporary", "transient"),
    # Some say "too fast" with a permanent code (Gmail 550 5.2.1, Exchange 5.2.121): the mailbox is fine.
    Rule(
        "too_fast",
        _RCPT,
        "5",
        "temporary",
        "transient",
        enhanced=r"5\.2\.1(21|22)?$",
        text=r".*(\brate\b|too (fast|quick))",
    ),
    # Proof about the recipient. 5.1.7 and 5.1.8 are about the sender's address.
    Rule("unknown_recipient", _RCPT, "5", "permanent", "invalid_recipient", enhanced=r"5\.1\.([12369]|10)$"),
    Rule(
        "bad_recipient", _RCPT, "55[013]", "permanent", "invalid_recipient", enhanced=r"(5\.1\.(?![78]$)\d+|5\.2\.1)$"
    ),
    Rule("no_such_recipient", _RCPT, "55[013]", "permanent", "invalid_recipient", enhanced="$"),
    Rule("rejected", PERMANENT_PHASES, "5", "permanent", "rejected"),
)
_COMPILED = tuple(
    (rule, re.compile(rule.code), re.compile(rule.enhanced), re.compile(rule.text, re.IGNORECASE | re.DOTALL))
    for rule in RULES
)


def classify(phase: Phase, reply: Reply) -> Outcome:
    """The outcome of an attempt that this reply ended in this phase."""
    enhanced = reply.enhanced_code
    for rule, code, enhanced_code, text in _COMPILED:
        if (
            phase in rule.phases
            and code.match(str(reply.code))
            and enhanced_code.match(enhanced or "")
            and text.match(reply.text)
        ):
            return Outcome(rule.outcome, rule.category, phase, reply.text, reply.code, enhanced)
    raise AssertionError(f"no rule for {reply.code} in phase {phase}")


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
