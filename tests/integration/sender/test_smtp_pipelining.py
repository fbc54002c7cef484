"""MAIL, RCPT and DATA in one write (RFC 2920): what is sent, and that each reply counts for its own command (R28; D41-D43)."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome
from services.sender.ports import Stop
from tests.integration.sender.test_smtp import MAIL, OpenGate, carrier_to, connected, outcome_of, send
from tests.kit.smtp_server import HANG, At, Fault, Taken, says, script_of, smtp_server

PIPELINING = ("PIPELINING", "SIZE 10000000")
SECOND = Mail("two@example.com", "two@example.org", b"Subject: two\r\n\r\ntwo\r\n", smtputf8=False)


async def test_the_envelope_leaves_in_one_piece_and_the_body_after_the_354() -> None:
    """A server that answers nothing before it has the whole group."""
    pieces: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 one.test ESMTP\r\n")
        await reader.readline()
        writer.write(b"250-one.test\r\n250 PIPELINING\r\n")
        pieces.append(await reader.read(65536))
        writer.write(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go ahead\r\n")
        pieces.append(await reader.readuntil(b"\r\n.\r\n"))
        writer.write(b"250 2.0.0 Ok\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        carrier = carrier_to(listener.sockets[0].getsockname()[1])
        assert outcome_of(await send(carrier)).outcome == "delivered"
        await carrier.stop()
    assert pieces[0] == b"MAIL FROM:<shop@example.com>\r\nRCPT TO:<ada@example.org>\r\nDATA\r\n"
    assert pieces[1] == b"Subject: x\r\n\r\n..dot\r\n...two\r\nend\r\n.\r\n"


@pytest.mark.parametrize("stop", ["lease", "stale", "suppressed", "expired", "deadline"])
async def test_what_the_gate_stops_sends_nothing_at_all(stop: Stop) -> None:
    """R11, R23: the verdict stands before the one write that has DATA in it."""
    async with smtp_server(extensions=PIPELINING) as server, connected(server) as carrier:
        assert (await send(carrier, gate=OpenGate(data=stop))).ended == stop
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert [command.partition(" ")[0] for command in server.commands] == ["EHLO", "MAIL", "RCPT", "DATA"]
        assert server.connections == 1


async def test_a_354_though_the_recipient_was_refused_is_ended_by_a_lone_dot() -> None:
    """RFC 2920, 3.1: no mail goes to nobody, and the session is as good as before."""
    script = script_of({"rcpt": [says("550 5.1.1 No such user"), says("451 4.3.0 Later")]})
    async with smtp_server(script, extensions=PIPELINING, always_354=True) as server, connected(server) as carrier:
        refused, deferred = outcome_of(await send(carrier)), outcome_of(await send(carrier))
        assert (refused.outcome, refused.category, refused.phase) == ("permanent", "invalid_recipient", "rcpt")
        assert (deferred.outcome, deferred.code, deferred.phase) == ("temporary", 451, "rcpt")
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 1
        assert "RSET" not in server.commands, "the dot ended the transaction"
    assert [mail.content for mail in server.mails] == [MAIL.data]


@pytest.mark.parametrize("at", ["mail", "rcpt"])
async def test_what_follows_a_refusal_is_heard_out_and_ignored(at: At) -> None:
    """D42: the 503s to RCPT and DATA are about the refusal before them; they are not the outcome."""
    refusal = says("550 5.7.1 Not you")
    following = says("503 5.5.1 Need MAIL first")
    faults: dict[At, list[Fault | None]] = {at: [refusal]}
    if at == "mail":
        faults["rcpt"] = [following]
    async with smtp_server(script_of(faults), extensions=PIPELINING) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.phase, outcome.code) == ("permanent", at, 550)
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 1
        assert server.commands.count("RSET") == 1


async def test_a_recipient_that_is_taken_without_a_sender_gets_no_empty_mail() -> None:
    """Where MAIL was refused and RCPT was not, a lone dot could be a mail: the connection ends instead."""
    script = script_of({"mail": [says("550 5.7.1 Not you")]})
    async with smtp_server(script, extensions=PIPELINING, always_354=True) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.phase, outcome.code) == ("permanent", "mail", 550)
        await server.until(lambda s: s.open == 0)
        assert server.reached["reply"] == 0
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 2


@pytest.mark.parametrize("then", [HANG, says("421 4.3.2 Closing", close=True), says("what?")], ids=["hang", "421", "?"])
async def test_a_refusal_stands_whatever_comes_after_it(then: Fault) -> None:
    """D41, D50: nobody waits long for replies that decide nothing."""
    script = script_of({"mail": [says("550 5.7.1 Not you")], "rcpt": [then]})
    async with smtp_server(script, extensions=PIPELINING) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier, seconds=0.5))
        assert (outcome.outcome, outcome.phase, outcome.code) == ("permanent", "mail", 550)
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 2


@pytest.mark.parametrize("at", ["mail", "rcpt", "data"])
async def test_503_in_a_group_is_temporary_and_closes(at: At) -> None:
    """D43: the two sides are out of step."""
    script = script_of({at: [says("503 5.5.1 Bad sequence")]})
    async with smtp_server(script, extensions=PIPELINING) as server, connected(server) as carrier:
        outcome = outcome_of(await send(carrier))
        assert (outcome.outcome, outcome.category, outcome.phase) == ("temporary", "protocol_error", at)
        assert outcome_of(await send(carrier)).outcome == "delivered"
        assert server.connections == 2


_CODES = ["250 2.1.0 Ok", "251 Ok", "354 Go", "421 4.3.2 Bye", "450 4.2.1 Later", "503 Bad", "550 5.1.1 No", "hm", ""]
_SAID = st.sampled_from(_CODES) | st.binary(max_size=20).map(lambda raw: raw.decode("latin-1"))
_AT: tuple[At, ...] = ("mail", "rcpt", "data", "reply")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(said=st.fixed_dictionaries({}, optional=dict.fromkeys(_AT, _SAID)), piping=st.booleans(), eager=st.booleans())
def test_whatever_is_said_the_outcome_is_honest_and_the_next_mail_unharmed(
    said: dict[At, str], piping: bool, eager: bool
) -> None:
    """D43, D49: delivered and unknown only where the mail was there; nothing is left over for the next one."""
    first = True

    def script(at: At, _: str) -> Fault | None:
        return Fault(say=said[at].encode("latin-1") + b"\r\n") if first and at in said else None

    async def converse() -> tuple[Outcome, list[Taken], list[Taken]]:
        nonlocal first
        offered = PIPELINING if piping else ()
        async with (
            smtp_server(script, extensions=offered, always_354=eager) as server,
            connected(server, reply_timeout=1) as carrier,
        ):
            outcome, taken = outcome_of(await send(carrier, seconds=1)), list(server.mails)
            first = False
            assert outcome_of(await send(carrier, SECOND)).outcome == "delivered"
            return outcome, taken, server.mails[len(taken) :]

    outcome, taken, then = asyncio.run(converse())
    if outcome.outcome in {"delivered", "unknown"}:
        assert [mail.content for mail in taken] == [MAIL.data]
    if taken:
        assert outcome.phase == "reply"
    assert outcome.outcome != "delivered" or said.get("reply", "250").startswith("2")
    assert [(mail.rcpt_to, mail.content) for mail in then] == [(SECOND.recipient, SECOND.data)]
