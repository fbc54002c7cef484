"""Honest attempts on a real Kafka, with real sender processes that are killed, frozen and stopped (R11, R22, R23)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from schemas.deliveries import Delivery
from schemas.inputs import AttemptFinished, AttemptRefused, AttemptUnknown
from tests.kit.broker import Broker
from tests.kit.postfix import smtp_sink
from tests.kit.senders import Bench, SenderProcess, Told, bench, delivery
from tests.kit.smtp_server import CLOSE, At, Fault, SmtpServer, Taken, smtp_server
from tests.kit.waiting import until


class Senders:
    """The sender processes of one test; none outlives it."""

    def __init__(self, broker: Broker, folder: Path, upstream: SmtpServer) -> None:
        self._broker = broker
        self._folder = folder
        self._upstream = upstream.port
        self.processes: list[SenderProcess] = []

    def start(self, **settings: str) -> SenderProcess:
        sender = SenderProcess(self._broker.bootstrap_servers, self._folder, upstream=self._upstream, **settings)
        self.processes.append(sender)
        return sender


class Upstream:
    """The scripted server's script, settable in the test; what it took stays with the module."""

    def __init__(self) -> None:
        self.fault: dict[tuple[At, str], Fault] = {}

    def script(self, at: At, recipient: str) -> Fault | None:
        return self.fault.get((at, recipient))


@pytest.fixture
def script() -> Upstream:
    return Upstream()


@pytest.fixture
async def upstream(script: Upstream) -> AsyncIterator[SmtpServer]:
    async with smtp_server(script.script) as server:
        yield server


@pytest.fixture
def senders(own_broker: Broker, tmp_path: Path, upstream: SmtpServer) -> Iterator[Senders]:
    found = Senders(own_broker, tmp_path, upstream)
    yield found
    for sender in found.processes:
        sender.terminate()  # who leaves the group in good order does not keep the next test waiting
    for sender in found.processes:
        sender.end(within=3)


@pytest.fixture
async def around(own_broker: Broker) -> AsyncIterator[Bench]:
    async with bench(own_broker.bootstrap_servers) as found:
        yield found


def copies(server: SmtpServer) -> Counter[str]:
    return Counter(mail.message_id for mail in server.mails)


async def test_deliveries_become_mails_and_outcomes(
    around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream
) -> None:
    """R22, R13: both lanes, all partitions; no byte of test mail gets to the upstream."""
    senders.start()
    script.fault["rcpt", "busy@example.org"] = Fault(say=b"450 4.2.1 Busy\r\n")
    script.fault["rcpt", "gone@example.org"] = Fault(say=b"550 5.1.1 Gone\r\n")
    live = [delivery(partition=n % 12, priority="critical" if n % 3 else "bulk") for n in range(60)]
    tests = [delivery(environment="test", partition=n) for n in range(3)]
    busy, gone = delivery(recipient="busy@example.org"), delivery(recipient="gone@example.org")
    late = delivery(valid_for_ms=-1)
    await around.hand_out([late, *live, *tests, busy, gone])
    await around.told_of([*live, *tests, busy, gone])
    assert copies(upstream) == Counter(item.message_id for item in live)
    for item in [*live, *tests]:
        (told,) = around.told.of(item.message_id)
        assert isinstance(told, AttemptFinished)
        assert (told.outcome, told.category, told.content) == ("delivered", "delivered", None)
        assert told.detail.path == ("sandbox" if item.environment == "test" else "upstream")
        assert (told.detail.phase, told.detail.code) == ("reply", 250)
        assert told.detail.mx_address == (None if item.environment == "test" else "127.0.0.1")
    (deferred,), (bounced,) = around.told.of(busy.message_id), around.told.of(gone.message_id)
    assert isinstance(deferred, AttemptFinished)
    assert isinstance(bounced, AttemptFinished)
    assert (deferred.outcome, deferred.category, deferred.content) == ("temporary", "throttled", busy.content)
    assert (bounced.outcome, bounced.category, bounced.content) == ("permanent", "invalid_recipient", None)
    assert (deferred.rule_id, bounced.rule_id) == ("x_recipient_rate", "x_no_user")
    assert around.told.of(late.message_id) == [], "a delivery that landed after its time is void"


async def test_killed_between_data_and_reply_is_unknown_and_no_second_copy(
    around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream
) -> None:
    """R23, D40: what a dead sender had begun is never begun again; the router is told that nobody knows."""
    script.fault["reply", "ada@example.org"] = Fault(hang=True)
    first = senders.start()
    item = delivery(partition=5)
    await around.hand_out([item])
    await upstream.until(lambda s: len(s.mails) == 1, within=30)
    first.kill()
    script.fault.clear()
    senders.start()
    after = delivery(partition=5)
    await around.hand_out([after])
    await around.told_of([item, after])
    (told,) = around.told.of(item.message_id)
    assert isinstance(told, AttemptUnknown)
    assert told.content == item.content
    assert (told.detail.number, told.detail.reply) == (1, None)
    assert copies(upstream) == Counter([item.message_id, after.message_id])


async def test_a_lost_reply_is_unknown_at_once(
    around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream
) -> None:
    """D38."""
    script.fault["reply", "ada@example.org"] = CLOSE
    senders.start()
    item = delivery()
    await around.hand_out([item])
    await around.told_of([item])
    assert around.told.kinds(item.message_id) == ["unknown"]
    assert len(upstream.mails) == 1


async def test_suppressed_while_the_server_thinks_about_rcpt(
    around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream
) -> None:
    """R11: the last look is right before DATA."""
    script.fault["rcpt", "eve@example.org"] = Fault(delay=1.5)
    senders.start()
    item = delivery(recipient="eve@example.org")
    await around.hand_out([item])
    await upstream.until(lambda s: s.reached["rcpt"] == 1, within=30)
    await around.suppress("eve@example.org")
    await around.told_of([item])
    (told,) = around.told.of(item.message_id)
    assert isinstance(told, AttemptRefused)
    assert told.suppression_reason == "manual"
    again = delivery(recipient="EVE@example.org")
    await around.hand_out([again])
    await around.told_of([again])
    assert around.told.kinds(again.message_id) == ["refused"]
    assert upstream.mails == []
    assert "DATA" not in upstream.commands


def answered(told: Told, items: Sequence[Delivery], dispatch: int) -> bool:
    """Whether each was carried out, or given back so often."""
    said = [told.distinct(item.message_id) for item in items]
    return all(each["finished"] or each["postponed"] >= dispatch for each in said)


async def test_senders_come_and_go_and_no_mail_goes_twice(
    around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream
) -> None:
    """R23, D28, D104: rebalances and orderly stops, with mail in flight."""
    first = senders.start()
    items = [delivery(partition=n % 12, priority="high" if n % 2 else "normal") for n in range(360)]
    for item in items:
        script.fault["reply", item.recipient] = Fault(delay=0.05)
    await around.hand_out(items[:120])
    await upstream.until(lambda s: len(s.mails) >= 40, within=30)
    second = senders.start()
    await around.hand_out(items[120:240])
    await until(lambda: second.said("partition_tracked"), within=30)
    await around.hand_out(items[240:])
    first.terminate()
    assert await first.ended() == 0
    await around.told_of(items, within=60)
    # What a rebalance met between claim and DATA went back, and what found no room; the router hands it out again.
    for dispatch in range(2, 30):
        back = [item for item in items if not around.told.distinct(item.message_id)["finished"]]
        await around.hand_out(item.model_copy(update={"dispatch": dispatch}) for item in back)
        await until(partial(answered, around.told, back, dispatch), within=60)
    assert copies(upstream) == Counter(item.message_id for item in items)
    assert all(around.told.distinct(item.message_id)["finished"] == 1 for item in items)
    assert not any(around.told.distinct(item.message_id)["unknown"] for item in items)


async def test_a_zombie_sends_nothing(around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream) -> None:
    """D29: frozen between claim and DATA past its session; another took over, so it must not go on when it wakes."""
    released = asyncio.Event()

    def hold(at: At, recipient: str) -> Fault | None:
        return Fault(delay=0.3) if at == "rcpt" and recipient == "ada@example.org" and not released.is_set() else None

    upstream.script = hold
    zombie = senders.start(attempt_deadline="60s")  # so that it is not merely its deadline that stops it
    item = delivery(partition=7)
    await around.hand_out([item])
    await upstream.until(lambda s: s.reached["rcpt"] == 1, within=30)
    zombie.freeze()
    heir = senders.start()
    await until(lambda: heir.said("partition_tracked"), within=40)
    released.set()
    zombie.thaw()
    await around.told_of([item], within=40)
    assert around.told.kinds(item.message_id)[0] == "postponed"
    assert upstream.mails == []
    assert "DATA" not in upstream.commands


async def test_sigterm_during_data_ends_the_attempt_first(
    around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream
) -> None:
    """D60: no unknown where it can be avoided; what had not begun is left to the next owner."""
    script.fault["reply", "ada@example.org"] = Fault(delay=2)
    sender = senders.start(connections="1")
    begun, waiting = delivery(), delivery()
    await around.hand_out([begun])
    await upstream.until(lambda s: len(s.mails) == 1, within=30)
    await around.hand_out([waiting])
    sender.terminate()
    assert await sender.ended() == 0
    await around.told_of([begun])
    assert around.told.kinds(begun.message_id) == ["finished"]
    assert copies(upstream) == Counter([begun.message_id])
    script.fault.clear()
    senders.start()
    await around.told_of([waiting])
    assert copies(upstream) == Counter([begun.message_id, waiting.message_id])


@pytest.mark.debian
async def test_sigterm_while_a_real_sink_holds_back_its_answer(
    around: Bench, own_broker: Broker, tmp_path: Path
) -> None:
    """D60: Postfix's smtp-sink takes three seconds for its 250; the sender hears it before it goes."""
    async with smtp_sink("-W", ".:3") as sink:
        sender = SenderProcess(own_broker.bootstrap_servers, tmp_path, upstream=sink.port)
        item = delivery()
        try:
            await around.hand_out([item])
            await until(lambda: any(mail.content.endswith(b"847291\r\n") for mail in sink.mails()), within=60)
            assert around.told.of(item.message_id) == []
            sender.terminate()
            assert await sender.ended() == 0
        finally:
            sender.end(within=0)
        await around.told_of([item])
        (told,) = around.told.of(item.message_id)
        assert isinstance(told, AttemptFinished)
        assert (told.outcome, told.detail.phase, told.detail.code) == ("delivered", "reply", 250)
        assert len(sink.mails()) == 1


async def test_every_mail_of_an_attempt_has_the_same_message_id_and_bytes(
    around: Bench, senders: Senders, upstream: SmtpServer, script: Upstream
) -> None:
    """R23: a resend after an unknown is recognisable."""
    script.fault["reply", "ada@example.org"] = CLOSE
    senders.start()
    item = delivery()
    await around.hand_out([item])
    await around.told_of([item])
    script.fault.clear()
    again = item.model_copy(update={"attempt": 2})
    await around.hand_out([again])
    await until(lambda: len(around.told.of(item.message_id)) == 2, within=20)
    one, two = upstream.mails
    assert isinstance(one, Taken)
    assert one.content == two.content
    assert f"Message-ID: <{item.message_id}@example.com>".encode() in one.content
