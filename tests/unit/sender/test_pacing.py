"""What is learned of how fast mail may go (R21), with a clock that is a number."""

from dataclasses import dataclass, field, replace

import pytest

from schemas.mail import Phase
from services.sender.domain.classification import TABLE, Pace
from services.sender.domain.outcome import Outcome, classify, lost, refused_by_us
from services.sender.domain.pacing import EVIDENCE_LIMIT, Meter, Standing, beginning, learn, signal_of
from services.sender.domain.replies import Reply
from services.sender.domain.shaping import Shape, of_provider, of_smarthost

GOOGLE_RATE = (
    "421-4.7.28 Gmail has detected an unusual rate of unsolicited email\n421-4.7.28 originating from your IP Netblock "
    "192.0.2.0/24. To protect our users\n421 4.7.28 from spam, email sent from your IP Netblock has been temporarily "
    "rate limited. - gsmtp"
)
MINUTE, HOUR = 60_000, 3_600_000


def answered(phase: Phase, text: str) -> Outcome:
    return classify(phase, Reply(int(text[:3]), text))


TAKEN = answered("reply", "250 2.0.0 Ok")
BUSY = answered("mail", "421 4.7.500 Server busy. Please try again later")
NOBODY = lost("connect", "no answer in time")


@dataclass
class Provider:
    """One provider, as one address of ours sees it; transactions one after the other."""

    shape: Shape = field(default_factory=lambda: of_provider("somewhere.example"))
    now_ms: int = 1_000_000
    standing: Standing = field(init=False)

    def __post_init__(self) -> None:
        self.standing = beginning(self.shape)

    @property
    def limit(self) -> int:
        return self.standing.connections(self.shape)

    @property
    def closed_for(self) -> int:
        return max(0, self.standing.closed_until_ms - self.now_ms)

    def says(self, outcome: Outcome, *, times: int = 1, began: int | None = None, replicas: int = 1) -> None:
        for _ in range(times):
            began_ms = self.now_ms if began is None else began
            self.standing = learn(
                self.standing, signal_of(outcome), self.shape, began_ms=began_ms, now_ms=self.now_ms, replicas=replicas
            )

    def later(self, ms: int) -> None:
        self.now_ms += ms


def test_grows_by_one_per_ten_mails_taken_up_to_its_maximum() -> None:
    provider = Provider()
    assert provider.limit == 2
    provider.says(TAKEN, times=9)
    assert provider.limit == 2
    provider.says(TAKEN)
    assert provider.limit == 3
    provider.says(TAKEN, times=1000)
    assert provider.limit == 10


def test_a_throttle_halves_and_never_takes_the_last_connection() -> None:
    provider = Provider()
    provider.says(TAKEN, times=1000)
    for expected in (5, 2, 1, 1, 1):
        provider.later(1)
        provider.says(BUSY)
        assert provider.limit == expected
    assert provider.closed_for > 0, "with one connection left, silence is all there is"


def test_replies_to_what_was_under_way_already_are_one_signal() -> None:
    provider = Provider()
    provider.says(TAKEN, times=1000)
    began = provider.now_ms
    provider.later(500)
    provider.says(BUSY, times=8, began=began)
    assert provider.limit == 5


def test_does_not_grow_while_it_is_slowed_down_and_grows_one_by_one_after() -> None:
    provider = Provider()
    provider.says(TAKEN, times=1000)
    provider.later(1)
    provider.says(BUSY)
    provider.says(TAKEN, times=100)
    assert provider.limit == 5
    provider.later(16 * MINUTE)
    provider.says(TAKEN)
    assert provider.limit == 6
    provider.says(TAKEN, times=10)
    assert provider.limit == 7


def test_googles_own_recipe() -> None:
    """4.7.28: nothing for ten minutes, then one connection, one more at a time."""
    provider = Provider(of_provider("google"))
    provider.says(TAKEN, times=100)
    assert provider.limit == 5
    provider.later(1)
    provider.says(answered("reply", GOOGLE_RATE))
    assert provider.closed_for == 10 * MINUTE
    assert provider.standing.closed(provider.now_ms)
    assert provider.standing.evidence == GOOGLE_RATE[:EVIDENCE_LIMIT]
    provider.later(10 * MINUTE)
    assert not provider.standing.closed(provider.now_ms)
    steps = []
    for _ in range(6):
        steps.append(provider.limit)
        provider.says(TAKEN, times=10)
    assert steps == [1, 2, 3, 4, 5, 5]
    assert provider.standing.evidence is None, "all is as it was"


def test_a_trickle_goes_mail_by_mail_and_ends() -> None:
    provider = Provider(of_provider("yahoo"))
    provider.says(
        answered("mail", "421 4.7.0 [TS02] Messages from 192.0.2.1 temporarily deferred due to user complaints")
    )
    assert provider.limit == 1
    assert provider.standing.rate(provider.shape, provider.now_ms) == pytest.approx(1 / 60)
    provider.later(30 * MINUTE)
    assert provider.standing.rate(provider.shape, provider.now_ms) == provider.shape.per_second


def test_a_trickle_is_shared_by_all_replicas() -> None:
    provider = Provider(of_provider("yahoo"))
    provider.says(answered("mail", "421 4.7.0 [TS02] Messages temporarily deferred"), replicas=2)
    assert provider.standing.rate(provider.shape, provider.now_ms) == pytest.approx(1 / 120)


def test_five_connections_in_a_row_that_come_to_nothing_close_it_for_a_growing_time() -> None:
    provider = Provider()
    provider.says(NOBODY, times=4)
    assert provider.closed_for == 0
    provider.says(NOBODY)
    closures = []
    for _ in range(12):
        closures.append(provider.closed_for)
        provider.later(provider.closed_for)
        assert provider.limit == 1
        provider.says(NOBODY)
    assert closures[:4] == [2_000, 4_000, 8_000, 16_000]
    assert closures[-1] == 10 * MINUTE


def test_connections_that_failed_together_are_one_failure_once_it_is_closed() -> None:
    provider = Provider()
    began = provider.now_ms
    provider.later(60_000)
    provider.says(NOBODY, times=100, began=began)
    assert provider.closed_for == 2_000


def test_whoever_answers_is_not_dead_whatever_he_says() -> None:
    provider = Provider()
    provider.says(NOBODY, times=4)
    provider.says(answered("rcpt", "550 5.1.1 user unknown"))
    provider.says(NOBODY, times=4)
    assert provider.closed_for == 0


def test_a_smarthost_starts_at_what_was_agreed_and_is_not_closed_for_long() -> None:
    provider = Provider(of_smarthost(connections=20, messages_per_connection=1000, per_second=None, idle=30))
    assert provider.limit == 20
    for _ in range(3):
        provider.later(1)
        provider.says(answered("reply", "550 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org"))
    assert provider.closed_for == 10 * MINUTE


def test_what_may_be_about_one_mail_has_to_be_said_thrice() -> None:
    provider = Provider()
    blocked = answered("reply", "550-5.7.1 very low reputation of the sending domain. - gsmtp")
    provider.says(blocked)
    provider.later(1)
    provider.says(blocked)
    provider.says(TAKEN)
    provider.later(1)
    provider.says(blocked, times=1)
    assert provider.closed_for < 10_000
    for _ in range(2):
        provider.later(1)
        provider.says(blocked)
    assert provider.closed_for == 2 * HOUR


def test_a_longer_restriction_is_not_cut_short_by_another() -> None:
    provider = Provider()
    provider.says(answered("mail", "421 4.7.0 [TSS04] Messages temporarily deferred"))
    closed_until_ms = provider.standing.closed_until_ms
    provider.later(1)
    provider.says(NOBODY, times=9)
    assert provider.standing.closed_until_ms == closed_until_ms


@pytest.mark.parametrize(
    ("phase", "text", "expected"),
    [
        ("reply", GOOGLE_RATE, ("source", "pause", 600)),
        ("reply", "421-4.7.28 unusual rate of email originating from your DKIM domain example.com", ("sender_domain", "pause", 600)),
        ("rcpt", "450-4.2.1 The user you are trying to contact is receiving email too quickly. - gsmtp", ("recipient", "pause", 600)),
        ("rcpt", "550-5.2.1 The user you are trying to contact is receiving email at a rate", ("recipient", "pause", 600)),
        ("rcpt", "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", ("recipient", "pause", 600)),
        ("mail", "421 4.7.0 [TS02] Messages from 192.0.2.1 temporarily deferred", ("source", "trickle", 1800)),
        ("greeting", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume", ("source", "pause", 7200)),
        ("mail", "421 4.7.0 [TSS05] Messages from 192.0.2.1 temporarily deferred", ("source", "pause", 14400)),
        ("mail", "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred", ("source", "pause", 14400)),
        ("mail", "421 Max message per connection reached, closing transmission channel", ("connection", "pause", 0)),
        ("mail", "421 RP-001 (BAY004) Unfortunately, some messages weren't sent: rate limit", ("source", "pause", 1800)),
        ("mail", "421 RP-002 messages from 192.0.2.1 rate on this connection", ("source", "trickle", 5400)),
        ("greeting", "421 RP-003 exceeded the connection limit", ("source", "single", 3600)),
        ("greeting", "421 too many connections from your IP", ("source", "single", 1800)),
        ("greeting", "421 service refuse. Trop de connexions", ("source", "single", 3600)),
        ("mail", "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", ("source", "halve", 900)),
        ("rcpt", "451 4.7.652 The mail server [192.0.2.1] has exceeded the maximum", ("source", "halve", 1800)),
        ("mail", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", ("source", "pause", 7200)),
        ("reply", "554 5.7.1 [HCM1] Message rejected due to local policy", ("source", "pause", 900)),
        ("rcpt", "451 Internal resource temporarily unavailable - https://community.mimecast.com", ("source", "trickle", 1800)),
        ("mail", "452 4.1.0 rate limit RL000010", ("source", "pause", 300)),
        ("mail", "421 4.3.0 Temporary System Problem. Try again later. - gsmtp", ("source", "halve", 60)),
    ],
)  # fmt: skip
def test_what_a_reply_says_of_the_pace(phase: Phase, text: str, expected: tuple[str, str, int]) -> None:
    pace = signal_of(answered(phase, text)).pace
    assert pace is not None
    assert (pace.scope, pace.act, pace.seconds) == expected


@pytest.mark.parametrize(
    ("outcome", "pulse"),
    [
        (TAKEN, "taken"),
        (answered("rcpt", "550 5.1.1 user unknown"), "answered"),
        (answered("rcpt", "451 4.7.1 Greylisted, try again in 5 minutes"), "answered"),
        (answered("greeting", "554 5.3.2 no service"), "unreachable"),
        (answered("auth", "535 5.7.8 authentication failed"), "unreachable"),
        (NOBODY, "unreachable"),
        (lost("starttls", "handshake"), "unreachable"),
        (lost("reply", "no answer in time"), "answered"),
        (lost("body", "no answer in time"), "answered"),
        (refused_by_us(552, "5.3.4", "too large"), "answered"),
    ],
)
def test_what_says_nothing_of_the_pace(outcome: Outcome, pulse: str) -> None:
    signal = signal_of(outcome)
    assert (signal.pulse, signal.pace) == (pulse, None)


def test_only_the_source_slows_the_source_down() -> None:
    provider = Provider()
    provider.says(TAKEN, times=100)
    before = provider.standing
    provider.later(1)
    provider.says(answered("rcpt", "450 4.2.1 The user you are trying to contact is receiving email too quickly"))
    provider.says(answered("mail", "421 Max message per connection reached"))
    assert replace(provider.standing, taken=before.taken) == before


def test_every_entry_of_the_column_can_be_carried_out() -> None:
    for rule in TABLE.rules:
        for pace in rule.paces:
            assert isinstance(pace, Pace)
            assert (pace.per_minute is not None) is (pace.act == "trickle"), rule.id
            assert pace.seconds > 0 or pace.scope == "connection", rule.id
            assert all(part == part.lower() for phrase in pace.phrases for part in phrase), rule.id
        assert all(pace.phrases for pace in rule.paces[:-1]), f"{rule.id}: one that fits always hides the rest"


def test_mails_go_evenly_after_a_seconds_worth() -> None:
    meter, now_ms, gone = Meter(), 1_000_000, 0
    while meter.next_ms(10, now_ms) == now_ms:
        meter, gone = meter.spent(10, now_ms), gone + 1
    assert gone == 10
    for _ in range(100):
        now_ms = meter.next_ms(10, now_ms)
        meter = meter.spent(10, now_ms)
    assert now_ms == pytest.approx(1_010_000, abs=200)


def test_less_than_one_a_second_goes_one_by_one() -> None:
    meter = Meter().spent(1 / 60, 1_000_000)
    assert meter.next_ms(1 / 60, 1_000_000) == 1_060_000
