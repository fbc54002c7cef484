"""The outcome table: what each reply in each phase means (R25; D41-D43, delivery reference section 3)."""

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.mail import DEAD_RECIPIENT, Category, Phase
from services.sender.domain.outcome import classify, garbled, lost, refused_by_us
from services.sender.domain.replies import Reply

PHASES: tuple[Phase, ...] = get_args(Phase)

TABLE: list[tuple[Phase, str, str, Category]] = [
    ("reply", "250 2.0.0 Ok", "delivered", "delivered"),
    ("reply", "250 Ok", "delivered", "delivered"),
    ("reply", "251 2.0.0 Forwarded", "delivered", "delivered"),
    ("reply", "252 Fine", "delivered", "delivered"),
    ("reply", "354 Go on", "unknown", "unknown"),
    ("reply", "334 What", "unknown", "unknown"),
    ("reply", "451 4.3.0 Later", "temporary", "transient"),
    ("reply", "421 4.7.0 Too much", "temporary", "transient"),
    ("reply", "452 4.2.2 Full", "temporary", "mailbox_full"),
    ("reply", "550 5.7.1 Spam", "permanent", "spam_blocked"),
    ("reply", "554 5.7.1 Spam", "permanent", "spam_blocked"),
    ("reply", "552 5.3.4 Too large", "permanent", "message_too_large"),
    ("reply", "550 5.1.1 Unknown user", "permanent", "rejected"),
    ("reply", "503 5.5.1 Bad sequence", "temporary", "protocol_error"),
    ("rcpt", "550 5.1.1 User unknown", "permanent", "invalid_recipient"),
    ("rcpt", "550 User unknown", "permanent", "invalid_recipient"),
    ("rcpt", "551 Moved", "permanent", "invalid_recipient"),
    ("rcpt", "553 5.1.2 Bad domain", "permanent", "domain_not_found"),
    ("rcpt", "553 5.1.3 Bad syntax", "permanent", "invalid_recipient"),
    ("rcpt", "550 5.1.6 Moved", "permanent", "invalid_recipient"),
    ("rcpt", "550 5.1.10 Recipient not found", "permanent", "invalid_recipient"),
    ("rcpt", "556 5.1.10 Null MX", "permanent", "invalid_recipient"),
    ("rcpt", "554 5.1.1 Unknown", "permanent", "invalid_recipient"),
    ("rcpt", "550 5.2.1 Mailbox disabled", "permanent", "mailbox_disabled"),
    ("rcpt", "550 5.2.1 The user you are trying to contact is receiving mail at a rate that", "temporary", "throttled"),
    ("rcpt", "550 5.2.121 Recipient receives mail too quickly", "temporary", "throttled"),
    ("rcpt", "550 5.1.7 Bad sender address", "permanent", "rejected"),
    ("rcpt", "553 5.1.8 Bad sender domain", "permanent", "rejected"),
    ("rcpt", "550 5.1.0 Address rejected", "permanent", "invalid_recipient"),
    ("rcpt", "550 5.7.1 Relaying denied", "permanent", "relay_denied"),
    ("rcpt", "554 5.7.1 Blocked", "permanent", "rejected"),
    ("rcpt", "554 No", "permanent", "rejected"),
    ("rcpt", "552 5.2.2 Over quota", "permanent", "mailbox_full"),
    ("rcpt", "450 4.2.1 Too fast", "temporary", "throttled"),
    ("rcpt", "451 4.7.1 Greylisted", "temporary", "greylisted"),
    ("rcpt", "452 4.5.3 Too many recipients", "temporary", "transient"),
    ("rcpt", "421 5.7.32 Odd class", "temporary", "auth_failed"),
    ("rcpt", "503 5.5.1 Bad sequence", "temporary", "protocol_error"),
    ("rcpt", "354 What", "temporary", "protocol_error"),
    ("mail", "550 5.1.1 No", "permanent", "rejected"),
    ("mail", "550 No", "permanent", "rejected"),
    ("mail", "553 5.1.8 Sender domain", "permanent", "rejected"),
    ("mail", "452 4.3.1 Disk", "temporary", "transient"),
    ("mail", "501 5.5.4 Syntax", "permanent", "rejected"),
    ("mail", "334 What", "temporary", "protocol_error"),
    ("data", "250 Ok", "temporary", "protocol_error"),
    ("data", "554 5.5.1 No valid recipients", "permanent", "rejected"),
    ("data", "451 Later", "temporary", "transient"),
    ("body", "552 5.3.4 Too large", "permanent", "message_too_large"),
    ("body", "250 Early", "temporary", "protocol_error"),
    ("greeting", "554 5.7.1 Go away", "temporary", "transient"),
    ("greeting", "421 Busy", "temporary", "transient"),
    ("greeting", "521 No mail here", "temporary", "transient"),
    ("ehlo", "550 5.7.1 Blocked", "temporary", "transient"),
    ("ehlo", "502 What", "temporary", "transient"),
    ("starttls", "454 4.7.0 Not now", "temporary", "transient"),
    ("starttls", "501 5.5.4 What", "temporary", "transient"),
    ("auth", "535 5.7.8 Bad password", "temporary", "relay_denied"),
    ("auth", "454 4.7.0 Not now", "temporary", "transient"),
]


@pytest.mark.parametrize(("phase", "text", "outcome", "category"), TABLE)
def test_table(phase: Phase, text: str, outcome: str, category: Category) -> None:
    found = classify(phase, Reply(int(text[:3]), text))
    assert (found.outcome, found.category, found.phase) == (outcome, category, phase)
    assert (found.reply, found.code) == (text, int(text[:3]))


@settings(deadline=None)
@given(st.sampled_from(PHASES), st.integers(200, 599), st.text(max_size=40))
def test_every_reply_in_every_phase_has_a_meaning(phase: Phase, code: int, text: str) -> None:
    found = classify(phase, Reply(code, f"{code} {text}"))
    if found.outcome == "delivered":
        assert phase == "reply"
        assert 200 <= code < 300
    if found.outcome == "permanent":
        assert code >= 500
        assert phase in {"mail", "rcpt", "data", "body", "reply"}
    if found.category in DEAD_RECIPIENT:
        assert phase in {"rcpt", "reply"}
        assert found.outcome == "permanent"
    if found.outcome == "unknown":
        assert phase == "reply"
    if 400 <= code < 500:
        assert found.outcome == "temporary"


@pytest.mark.parametrize("phase", PHASES)
def test_silence_and_nonsense_before_the_dot_defer_and_after_it_are_unknown(phase: Phase) -> None:
    """D38, D43."""
    for found, category in ((lost(phase, "time"), "no_answer"), (garbled(phase, "what"), "protocol_error")):
        expected = ("unknown", "unknown") if phase == "reply" else ("temporary", category)
        assert (found.outcome, found.category, found.phase) == (*expected, phase)


def test_our_own_refusal_says_that_it_is_ours() -> None:
    found = refused_by_us(552, "5.3.4", "too large")
    assert (found.outcome, found.category, found.phase) == ("permanent", "rejected", "mail")
    assert found.reply == "552 5.3.4 too large (not sent: our own verdict)"
