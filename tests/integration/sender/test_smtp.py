"""The carrier against scripted SMTP servers: each fault in each phase, and what it must mean (R22, R23, R25; D38-D49)."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from schemas.mail import Phase
from services.sender.adapters.smtp import Limits, SmtpCarrier
from services.sender.adapters.smtp_patience import RFC_5321
from services.sender.adapters.smtp_setup import SetUp
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome
from services.sender.ports import Carried, Gate, Server, Stop, Way
from tests.kit.smtp_server import CLOSE, HANG, RESET, At, Fault, Script, SmtpServer, says, script_of, smtp_server

MAIL = Mail("shop@example.com", "ada@example.org", b"Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n", smtputf8=False)


@dataclass
class CarrierTo:
    """To one server."""

    server: Server
    carrier: SmtpCarrier

    async def carry(self, mail: Mail, gate: Gate, *, dot_by: float) -> Carried:
        way = Way("upstream", "upstream", servers=(self.server,))
        return await self.carrier.carry(way, mail, gate, dot_by=dot_by)

    async def stop(self) -> None:
        await self.carrier.stop()


@dataclass
class OpenGate:
    """Lets everything through unless told otherwise; counts what it was asked."""

    data: Stop | None = None
    body: Stop | None = None
    asked: list[str] = field(default_factory=list)

    async def settle(self) -> None:
        self.asked.append("settle")

    def before_data(self) -> Stop | None:
        self.asked.append("data")
        return self.data

    def before_body(self) -> Stop | None:
        self.asked.append("body")
        return self.body


def carrier_to(
    port: int,
    *,
    reply_timeout: float = 5.0,
    per_connection: int = 100,
    patience: Mapping[Phase, timedelta] = RFC_5321,
    **server: object,
) -> CarrierTo:
    at = Server("127.0.0.1", port, **server)  # type: ignore[arg-type]  # the tests say what they mean
    limits = Limits(reply_timeout, messages_per_connection=per_connection, idle=30, patience=patience)
    return CarrierTo(at, SmtpCarrier(SetUp("sender.test", patience), limits))


@asynccontextmanager
async def connected(server: SmtpServer, **options: object) -> AsyncIterator[CarrierTo]:
    carrier = carrier_to(server.port, **options)  # type: ignore[arg-type]
    try:
        yield carrier
    finally:
        await carrier.stop()


async def send(carrier: CarrierTo, mail: Mail = MAIL, gate: OpenGate | None = None, seconds: float = 5) -> Carried:
    by = asyncio.get_running_loop().time() + seconds
    return await carrier.carry(mail, gate or OpenGate(), dot_by=by)


def outcome_of(carried: Carried) -> Outcome:
    assert isinstance(carried.ended, Outcome)
    return carried.ended


Sink = Callable[..., AbstractAsyncContextManager[SmtpServer]]


@pytest.fixture(params=["step by step", "at once"])
def sink(request: pytest.FixtureRequest) -> Sink:
    """`smtp_server`, without PIPELINING and with it: what a reply means must not depend on it."""

    def serve(*script: Script, extensions: tuple[str, ...] = ("SIZE 10000000", "8BITMIME"), **options: Any) -> Any:
        offered = (*extensions, "PIPELINING") if request.param == "at once" else extensions
        return smtp_server(*script, extensions=offered, **options)

    return serve


async def test_a_mail_arrives_as_it_was_written(sink: Sink) -> None:
    async with sink() as server, connected(server) as carrier:
        carried = await send(carrier)
        outcome = outcome_of(carried)
    assert (outcome.outcome, outcome.category, outcome.phase) == ("delivered", "delivered", "reply")
    assert (outcome.code, outcome.enhanced_code, outcome.reply) == (250, "2.0.0", "250 2.0.0 Ok: queued")
    (taken,) = server.mails
    assert (taken.mail_from, taken.rcpt_to, taken.content) == (MAIL.envelope_from, MAIL.recipient, MAIL.data)
    assert taken.raw == b"Subject: x\r\n\r\n..dot\r\n...two\r\nend\r\n.\r\n"
    assert server.commands[1] == f"MAIL FROM:<shop@example.com> SIZE={len(MAIL.data)}"
    assert carried.hop.mx_host == f"127.0.0.1:{server.port}"
    assert (carried.hop.mx_address, carried.hop.source_address, carried.hop.tls) == ("127.0.0.1", "127.0.0.1", None)


PHASES: tuple[At, ...] = ("greeting", "ehlo", "mail", "rcpt", "data", "reply")


@pytest.mark.parametrize("at", PHASES)
async def test_421_defers_and_the_next_mail_is_unharmed(at: At, sink: Sink) -> None:
    """D41."""
    async with sink(script_of({at: [says("421 4.7.0 Not now", close=True)]})) as server, connected(server) as c:
        outcome = outcome_of(await send(c))
        assert (outcome.outcome, outcome.category, outcome.phase) == ("temporary", "transient", at)
        assert (outcome.code, outcome.enhanced_code) == (421, "4.7.0")
        assert outcome_of(await send(c)).outcome == "delivered"
        assert server.connections == 2


@pytest.mark.parametrize("at", PHASES)
async def test_4xx_defers(at: At, sink: Sink) -> None:
    """D42."""
    async with sink(script_of({at: [says("451 4.3.0 Later")]})) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.phase, outcome.code) == ("temporary", at, 451)
        assert outcome_of(await send(carrier)).outcome == "delivered"


@pytest.mark.parametrize("at", PHASES)
async def test_5xx_bounces_only_where_it_is_about_the_mail(at: At, sink: Sink) -> None:
    """D42: a 5xx greeting or EHLO says nothing about a recipient."""
    async with sink(script_of({at: [says("554 5.7.1 No")]})) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        expected = ("temporary", "transient") if at in {"greeting", "ehlo"} else ("permanent", "rejected")
        assert (outcome.outcome, outcome.category, outcome.phase) == (*expected, at)
        assert outcome_of(await send(carrier)).outcome == "delivered"


async def test_an_unknown_user_is_proof(sink: Sink) -> None:
    script = script_of({"rcpt": says("550-5.1.1 No such\r\n550 5.1.1 user here")})
    async with sink(script) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.category) == ("permanent", "invalid_recipient")
        assert outcome.reply == "550-5.1.1 No such\n550 5.1.1 user here"
        assert outcome_of(await send(carrier)).category == "invalid_recipient"
        assert server.connections == 1, "a refusal of one recipient does not cost the connection"
        assert "RSET" in server.commands


@pytest.mark.parametrize("at", [*PHASES, "body"])
@pytest.mark.parametrize("fault", [CLOSE, RESET], ids=["close", "reset"])
async def test_a_lost_connection_before_the_dot_defers_and_after_it_is_unknown(
    at: At, fault: Fault, sink: Sink
) -> None:
    """D38, D46, D48."""
    large = Mail(MAIL.envelope_from, MAIL.recipient, MAIL.data + b"x" * 70 + b"\r\n" * 4_000_000, smtputf8=False)
    async with sink(script_of({at: fault}), extensions=()) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier, large if at == "body" else MAIL))
    expected = ("unknown", "unknown") if at == "reply" else ("temporary", "no_answer")
    assert (outcome.outcome, outcome.category, outcome.phase) == (*expected, at)
    assert len(server.mails) == (1 if at == "reply" else 0)


@pytest.mark.parametrize("at", PHASES)
async def test_silence_before_the_dot_defers_and_after_it_is_unknown(at: At, sink: Sink) -> None:
    async with sink(script_of({at: HANG})) as server, connected(server, reply_timeout=0.4) as carrier:
        outcome = outcome_of(await send(carrier, seconds=0.4))
    expected = ("unknown", "unknown") if at == "reply" else ("temporary", "no_answer")
    assert (outcome.outcome, outcome.category, outcome.phase) == (*expected, at)


Timed = Literal["greeting", "ehlo", "mail", "rcpt", "data", "body"]


@pytest.mark.parametrize("at", get_args(Timed))
async def test_a_phase_has_a_time_of_its_own(at: Timed, sink: Sink) -> None:
    """R28: as RFC 5321 (4.5.3.2) has it, where the attempt's deadline is longer than that."""
    impatient: dict[Phase, timedelta] = {**RFC_5321, at: timedelta(seconds=0.3)}
    large = Mail(MAIL.envelope_from, MAIL.recipient, MAIL.data + b"x" * 70 + b"\r\n" * 4_000_000, smtputf8=False)
    fault = Fault(delay=1.5, close=True) if at == "body" else HANG
    async with sink(script_of({at: fault}), extensions=()) as server, connected(server, patience=impatient) as carrier:
        began = time.monotonic()
        outcome = outcome_of(await send(carrier, large if at == "body" else MAIL, seconds=30))
        assert time.monotonic() - began < 15
    assert (outcome.outcome, outcome.category, outcome.phase) == ("temporary", "no_answer", at)


def test_the_times_of_the_rfc() -> None:
    """R28: RFC 5321, 4.5.3.2."""
    minutes = {phase: patience.total_seconds() / 60 for phase, patience in RFC_5321.items()}
    assert minutes.items() >= {"greeting": 5, "mail": 5, "rcpt": 5, "data": 2, "body": 3}.items()


async def test_nobody_listens(sink: Sink) -> None:
    async with sink() as server:
        port = server.port
    carried = await send(carrier_to(port))
    outcome = outcome_of(carried)
    assert (outcome.outcome, outcome.category, outcome.phase) == ("temporary", "no_answer", "connect")
    assert carried.hop.mx_host == f"127.0.0.1:{port}"


async def test_a_late_answer_to_the_dot_is_waited_for(sink: Sink) -> None:
    """D39: the attempt's deadline is over, but that is a deadline to the dot."""
    async with sink(script_of({"reply": Fault(delay=0.6)})) as server, connected(server) as carrier:
        assert outcome_of(await send(carrier, seconds=0.3)).outcome == "delivered"
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("at", "said", "expected"),
    [
        ("rcpt", "251 2.1.5 Will forward", ("delivered", "delivered")),
        ("rcpt", "252 2.1.5 Can't verify", ("delivered", "delivered")),
        ("reply", "251 2.0.0 Fine", ("delivered", "delivered")),
        ("reply", "354 Go on", ("unknown", "unknown")),
        ("reply", "what?", ("unknown", "unknown")),
        ("reply", "-1 no", ("unknown", "unknown")),
        ("reply", "503 5.5.1 Bad sequence", ("temporary", "protocol_error")),
        ("mail", "354 Go on", ("temporary", "protocol_error")),
        ("rcpt", "hello", ("temporary", "protocol_error")),
        ("data", "250 2.0.0 Ok", ("temporary", "protocol_error")),
        ("mail", "\x00\x00", ("temporary", "protocol_error")),
        ("mail", "250-yes\r\n550 no", ("temporary", "protocol_error")),
        ("greeting", "hello", ("temporary", "protocol_error")),
    ],
)
async def test_odd_replies(at: At, said: str, expected: tuple[str, str], sink: Sink) -> None:
    """D43: 2xx is success; nonsense defers before the dot, and is unknown after it; never a bounce."""
    async with sink(script_of({at: [says(said)]})) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.category) == expected
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == (1 if expected[0] == "delivered" else 2)


async def test_an_endless_reply_is_cut(sink: Sink) -> None:
    """D49."""
    endless = Fault(say=b"250-" + b"x" * 100_000)
    async with sink(script_of({"rcpt": endless})) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
    assert (outcome.outcome, outcome.category) == ("temporary", "protocol_error")
    assert outcome.reply is not None
    assert len(outcome.reply) <= 4096


async def test_two_replies_to_one_command_never_shift(sink: Sink) -> None:
    """Out of step before the dot: the second reply is not taken for the answer to RCPT."""
    script = script_of({"mail": [says("250 2.1.0 Ok\r\n250 2.1.5 Ok")]})
    async with sink(script) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.category) == ("temporary", "protocol_error")
    assert server.mails == []


@pytest.mark.parametrize("at", PHASES)
async def test_a_reply_that_trickles_in_frees_its_slot_in_time(at: At, sink: Sink) -> None:
    """D50: what counts is the whole reply; a byte now and then buys no time."""
    trickle = Fault(say=b"250-" + b"x" * 400 + b"\r\n", trickle=0.01)
    async with sink(script_of({at: trickle})) as server, connected(server, reply_timeout=0.4) as carrier:
        began = time.monotonic()
        outcome = outcome_of(await send(carrier, seconds=0.4))
        assert time.monotonic() - began < 3, "400 octets take longer"
        expected = ("unknown", "unknown") if at == "reply" else ("temporary", "no_answer")
        assert (outcome.outcome, outcome.category, outcome.phase) == (*expected, at)


@pytest.mark.parametrize("said", ["354 Go ahead\r\n250 2.0.0 Ok: queued", "354 Go ahead\r\n250"])
async def test_a_reply_that_came_before_the_body_is_not_the_answer_to_it(said: str, sink: Sink) -> None:
    """R23: what was said before the mail was there says nothing of the mail."""
    raw = said.encode() + (b"\r\n" if said.endswith("queued") else b"")
    async with sink(script_of({"data": [Fault(say=raw)]})) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.category, outcome.phase) == ("temporary", "protocol_error", "body")
        assert outcome_of(await send(carrier)).outcome == "delivered"
    assert len(server.mails) == 1


async def test_a_lone_line_feed_never_leaves(sink: Sink) -> None:
    """R28: `LF . LF` ends a mail for some servers, and what follows would be another's (SMTP smuggling)."""
    text = b"Subject: x\r\n\r\nhello\n.\nMAIL FROM:<evil@example.com>\r\n"
    async with sink() as server, connected(server) as carrier:
        for data in (text, text.replace(b"\n.\n", b"\r.\r"), text.replace(b"\n.\n", b"\r\n.\r.\n")):
            outcome = outcome_of(await send(carrier, Mail("a@example.com", "b@example.org", data, smtputf8=False)))
            assert (outcome.outcome, outcome.category, outcome.enhanced_code) == ("permanent", "rejected", "5.6.0")
        assert [command.partition(" ")[0] for command in server.commands] == ["EHLO"]


async def test_connections_are_kept_and_numbered(sink: Sink) -> None:
    async with sink() as server, connected(server, per_connection=2) as carrier:
        for _ in range(5):
            assert outcome_of(await send(carrier)).outcome == "delivered"
    assert [mail.connection for mail in server.mails] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("parting", [CLOSE, says("421 4.4.2 Idle too long", close=True)], ids=["close", "421"])
async def test_an_idle_connection_that_has_ended_costs_no_attempt(parting: Fault, sink: Sink) -> None:
    """D47: whether it is seen while idle, or only when MAIL meets the closing."""
    async with sink(script_of({"mail": [None, parting]})) as server, connected(server) as carrier:
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert outcome_of(await send(carrier)).outcome == "delivered"
        server.drop_all()
        await server.until(lambda s: s.open == 0)
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 3


async def test_an_unasked_421_ends_a_kept_connection(sink: Sink) -> None:
    script = script_of({"reply": [Fault(say=b"250 2.0.0 Ok\r\n421 4.3.0 Going down\r\n")]})
    async with sink(script) as server, connected(server) as carrier:
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 2


@pytest.mark.parametrize("stop", ["lease", "stale", "suppressed", "deadline"])
async def test_what_the_gate_stops_before_data_never_sends_data(stop: Stop, sink: Sink) -> None:
    """R11, R23."""
    async with sink() as server, connected(server) as carrier:
        gate = OpenGate(data=stop)
        assert (await send(carrier, gate=gate)).ended == stop
        assert gate.asked == ["settle", "data"]
        assert "DATA" not in server.commands
        assert server.commands[-1] in {"RSET", "EHLO sender.test"}, "taken back, or not begun"
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 1


async def test_what_the_gate_stops_before_the_body_closes_the_connection(sink: Sink) -> None:
    async with sink() as server, connected(server) as carrier:
        assert (await send(carrier, gate=OpenGate(body="deadline"))).ended == "deadline"
        await server.until(lambda s: s.open == 0)
        assert server.mails == []


async def test_a_peer_that_stops_reading_gets_no_dot_after_the_deadline(sink: Sink) -> None:
    """D50: the body's tail stays with us, so the outcome is temporary, and nothing comes later."""
    large = Mail(MAIL.envelope_from, MAIL.recipient, b"x: y\r\n\r\n" + (b"x" * 70 + b"\r\n") * 300_000, smtputf8=False)

    def script(at: At, _: str) -> Fault | None:
        return Fault(delay=1.5, close=True) if at == "body" else None

    async with sink(script, extensions=()) as server, connected(server) as carrier:
        began = time.monotonic()
        outcome = outcome_of(await send(carrier, large, seconds=0.5))
        assert time.monotonic() - began < 1.4
        assert (outcome.outcome, outcome.category, outcome.phase) == ("temporary", "no_answer", "body")
        await server.until(lambda s: s.open == 0)
        assert server.mails == []


async def test_size_and_smtputf8_are_judged_before_sending(sink: Sink) -> None:
    """D57."""
    async with sink(extensions=("SIZE 20",)) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.category) == ("permanent", "rejected")
        assert (outcome.code, outcome.enhanced_code) == (552, "5.3.4")
        assert "our own verdict" in (outcome.reply or "")
        foreign = Mail("shop@example.com", "jürgen@example.org", b"x\r\n", smtputf8=True)
        assert outcome_of(await send(carrier, foreign)).enhanced_code == "5.6.7"
        assert not any(command.startswith("MAIL") for command in server.commands)
    async with sink(extensions=("SMTPUTF8",)) as server, connected(server) as carrier:
        assert outcome_of(await send(carrier, foreign)).outcome == "delivered"
        assert "MAIL FROM:<shop@example.com> SMTPUTF8" in server.commands
        assert server.mails[0].rcpt_to == "jürgen@example.org"


async def test_a_command_never_carries_a_second_line(sink: Sink) -> None:
    """R28: the last line of defence; addresses were checked long before."""
    evil = Mail("a@b.c>\r\nRCPT TO:<evil@x.y", "ada@example.org", b"x\r\n", smtputf8=False)
    async with sink() as server, connected(server) as carrier:
        with pytest.raises(ValueError, match="one line"):
            await send(carrier, evil)
        assert not any("evil" in command for command in server.commands)


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Self-signed, for `localhost`."""
    folder = tmp_path_factory.mktemp("certificate")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return key, cert


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    key, cert = certificate
    context.load_cert_chain(cert, key)
    return context


async def test_opportunistic_tls_encrypts_without_trusting(certificate: tuple[Path, Path], sink: Sink) -> None:
    """R28."""
    async with sink(tls=server_context(certificate)) as server, connected(server) as carrier:
        for _ in range(2):
            carried = await send(carrier)
            assert outcome_of(carried).outcome == "delivered"
        assert carried.hop.tls is not None
        assert carried.hop.tls.startswith("TLSv1.3 ")
        assert server.connections == 1


async def test_a_large_mail_over_tls_arrives_whole(certificate: tuple[Path, Path], sink: Sink) -> None:
    large = Mail(MAIL.envelope_from, MAIL.recipient, b"x: y\r\n\r\n" + (b".x" * 35 + b"\r\n") * 50_000, smtputf8=False)
    async with sink(tls=server_context(certificate)) as server, connected(server) as carrier:
        assert outcome_of(await send(carrier, large)).outcome == "delivered"
        assert server.mails[0].content == large.data


async def test_a_peer_that_stops_reading_over_tls(certificate: tuple[Path, Path], sink: Sink) -> None:
    large = Mail(MAIL.envelope_from, MAIL.recipient, b"x: y\r\n\r\n" + (b"x" * 70 + b"\r\n") * 300_000, smtputf8=False)

    def script(at: At, _: str) -> Fault | None:
        return Fault(delay=1.5, close=True) if at == "body" else None

    async with sink(script, extensions=(), tls=server_context(certificate)) as server, connected(server) as c:
        outcome = outcome_of(await send(c, large, seconds=0.7))
        assert (outcome.outcome, outcome.phase) == ("temporary", "body")
        await server.until(lambda s: s.open == 0)
        assert server.mails == []


async def test_required_tls_defers_where_it_can_not_be_had(certificate: tuple[Path, Path], sink: Sink) -> None:
    async with sink() as server, connected(server, tls="required") as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.phase) == ("temporary", "starttls")
    async with sink(tls=server_context(certificate)) as server, connected(server, tls="required") as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.phase) == ("temporary", "starttls"), "a certificate that nobody vouches for"
        assert not any(command.startswith("MAIL") for command in server.commands)


@pytest.mark.parametrize("tls", ["opportunistic", "required"])
async def test_what_is_said_in_the_clear_behind_the_220_is_not_heard(
    certificate: tuple[Path, Path], tls: str, sink: Sink
) -> None:
    """D55, R28: whoever sits in between can not slip a reply in that looks as if it came encrypted."""
    injected = Fault(say=b"220 Go ahead\r\n250-evil.test\r\n250 SIZE 1\r\n550 5.1.1 No such user\r\n")
    script = script_of({"starttls": [injected]})
    async with sink(script, tls=server_context(certificate)) as server, connected(server, tls=tls) as carrier:
        outcome = outcome_of(await send(carrier))
        if tls == "required":
            assert (outcome.outcome, outcome.phase) == ("temporary", "starttls"), "its certificate is nobody's"
        else:
            assert outcome.outcome == "delivered", outcome


@pytest.mark.parametrize("fault", [says("454 4.7.0 TLS not available"), says("220 Go", close=True)])
async def test_opportunistic_tls_that_fails_goes_on_in_the_clear(
    certificate: tuple[Path, Path], fault: Fault, sink: Sink
) -> None:
    script = script_of({"starttls": fault})
    async with sink(script, tls=server_context(certificate)) as server, connected(server) as carrier:
        carried = await send(carrier)
        assert outcome_of(carried).outcome == "delivered"
        assert carried.hop.tls is None


# --- a foreign server ---


class Keeper:
    """aiosmtpd handler."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        self.taken.append(envelope.original_content)
        return "250 2.0.0 Kept"


async def test_aiosmtpd_gets_every_byte(certificate: tuple[Path, Path]) -> None:
    """D58: dots, long lines, STARTTLS, at a server that is not ours."""
    keeper = Keeper()
    context = server_context(certificate)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: SMTP(keeper, hostname="localhost", tls_context=context, require_starttls=True, loop=loop),
        "127.0.0.1",
        0,
    )
    body = b"X-Long: " + b"l" * 980 + b"\r\n\r\n.\r\n..\r\n...a\r\n" + b"y" * 996 + b"\r\n.\r\nend\r\n"
    async with listener:
        carrier = carrier_to(listener.sockets[0].getsockname()[1])
        for _ in range(2):
            carried = await send(carrier, Mail("a@example.com", "b@example.org", body, smtputf8=False))
            assert outcome_of(carried).outcome == "delivered"
            assert (carried.hop.tls or "").startswith("TLSv1.")
        await carrier.stop()
    assert keeper.taken == [body, body]


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize("accepts", [True, False])
async def test_login_and_its_refusal(accepts: bool) -> None:
    """A password that the upstream refuses is our fault: the mail waits."""

    def server() -> SMTP:
        return SMTP(
            Keeper(),
            hostname="localhost",
            authenticator=lambda *_: AuthResult(success=accepts, handled=False),
            auth_required=True,
            auth_require_tls=False,
        )

    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    async with listener:
        carrier = carrier_to(listener.sockets[0].getsockname()[1], username="me", password="secret")
        outcome = outcome_of(await send(carrier))
        await carrier.stop()
    if accepts:
        assert outcome.outcome == "delivered"
    else:
        assert (outcome.outcome, outcome.category, outcome.phase) == ("temporary", "relay_denied", "auth")
        assert outcome.code == 535
