"""Ten thousand mails on their way to one address, and one word against it (R11): after the answer nothing starts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.log import Log
from chassis.table import Tables
from schemas.inputs import AttemptInput
from schemas.tables import Suppression
from schemas.topics import TOPICS
from services.ingest.adapters.account_events import LogAccountEvents
from services.ingest.adapters.suppressions import SuppressionEntities
from services.ingest.domain.access import Caller
from services.ingest.management.suppressions import ManageSuppressions
from tests.kit.broker import Broker
from tests.kit.senders import PROJECT, SenderProcess, Told, bench, delivery
from tests.kit.smtp_server import At, Fault, smtp_server
from tests.kit.topics import kafka_settings
from tests.kit.waiting import until

MAILS = 10_000
UNDER_WAY = 300  # mails that have begun when the word comes
ADDRESS = "grace@example.org"


class Starts:
    """When the server was given DATA, on this loop's clock: the one that the answer is timed with, too."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.enough = asyncio.Event()

    def script(self, at: At, recipient: str) -> Fault | None:
        del recipient
        if at == "data":
            self.at.append(asyncio.get_running_loop().time())
            if len(self.at) >= UNDER_WAY:
                self.enough.set()
        return None


@asynccontextmanager
async def ingest(broker: Broker) -> AsyncIterator[ManageSuppressions]:
    """What `POST /v1/suppressions` is answered by."""
    kafka, clock = kafka_settings(broker.bootstrap_servers), SystemClock()
    log = Log(kafka, client_id="test-suppressing")
    tables = Tables(kafka, log, clock, client_id="test-suppressing-tables")
    entities = SuppressionEntities(tables.table(TOPICS["suppressions"], Suppression), clock)
    await log.start()
    await tables.start()
    try:
        yield ManageSuppressions(clock, entities, LogAccountEvents(log))
    finally:
        await tables.stop()
        await log.stop()


def kinds_of(told: Told) -> dict[str, str]:
    """What was told last of each message."""
    reports = [envelope.data for envelope in told.envelopes if isinstance(envelope.data, AttemptInput)]
    return {report.message_id: report.TYPE.removeprefix("input.attempt_") for report in reports}


@pytest.mark.timeout(240)  # seconds, on a busy machine: each of them is in the journal
async def test_no_attempt_starts_after_the_answer(own_broker: Broker, tmp_path: Path) -> None:
    """R11: two senders with twenty connections each; what they had begun may end, what they had not never starts."""
    caller = Caller(PROJECT, "key_1", "live", ("*",), 1000)
    starts = Starts()
    async with (
        smtp_server(starts.script) as server,
        bench(own_broker.bootstrap_servers) as around,
        ingest(own_broker) as suppressions,
    ):
        senders = [SenderProcess(own_broker.bootstrap_servers, tmp_path, upstream=server.port) for _ in range(2)]
        try:
            items = [delivery(recipient=ADDRESS, partition=number % 12) for number in range(MAILS)]
            await around.hand_out(items)
            async with asyncio.timeout(30):
                await starts.enough.wait()
            await suppressions.add(caller, {"recipient": ADDRESS, "reason": "complaint"})
            answered_at = asyncio.get_running_loop().time()
            await until(lambda: len(kinds_of(around.told)) == MAILS, within=150)
        finally:
            for sender in senders:
                sender.kill()
    late = [round(at - answered_at, 3) for at in starts.at if at > answered_at]
    assert late == []
    assert UNDER_WAY <= len(starts.at) < MAILS, "the word came while mail was on its way"
    kinds = Counter(kinds_of(around.told).values())
    # Where the list could not be proven fresh for a moment, the mail went back unsent: the router asks it again.
    assert set(kinds) <= {"finished", "refused", "postponed"}
    assert kinds["finished"] == len(starts.at)
