"""One ingest process: the real acceptance, claim log and suppression list on the brokers in memory."""

from collections.abc import Sequence
from random import Random
from typing import Any, cast

from chassis.claims import Claims
from chassis.ids import MessageIds
from chassis.table import Table
from schemas.inputs import Submit
from schemas.mail import Lane
from schemas.tables import Suppression
from schemas.topics import TOPICS
from services.ingest.adapters.account_events import LogAccountEvents
from services.ingest.adapters.idempotency import LogIdempotency, read
from services.ingest.adapters.submissions import LogSubmissions
from services.ingest.adapters.suppressions import SuppressionEntities
from services.ingest.domain.acceptance import Placed
from services.ingest.domain.access import Caller
from services.ingest.handlers import AcceptMessage
from services.ingest.management.suppressions import ManageSuppressions
from tests.kit.router_inputs import PROJECT
from tests.simulation.cluster import Cluster, SimulatedLog, SimulatedTail
from tests.simulation.process import Process
from tests.unit.ingest.stand_ins import LINKS, Directory, NoStorage, NoTemplates

PARTITIONS = 2  # of the twelve: more would only thin out what happens in each
CALLER = Caller(PROJECT, "key_1", "live", ("*",), 1000)
IDEMPOTENCY, SUPPRESSIONS = TOPICS["idempotency"], TOPICS["suppressions"]


class _Submissions(LogSubmissions):
    def place(self, lane: Lane) -> Placed:
        return Placed(lane, super().place(lane).partition % PARTITIONS)

    async def submit(self, project_id: str, submits: Sequence[Submit], place: Placed, *, within: float) -> None:
        await super().submit(project_id, [wished(submit) for submit in submits], place, within=within)


def wished(submit: Submit) -> Submit:
    """With times and wishes that follow from its id, so that whoever submits it says the same."""
    chance = Random(submit.message_id)
    scheduled = submit.valid_until_ms + chance.randint(-5_000, 3 * 3_600_000)
    ends = submit.valid_until_ms + chance.randint(-10_000, 3 * 3_600_000)
    return submit.model_copy(
        update={
            "scheduled_ms": scheduled if chance.random() < 0.3 else None,
            "deliver_before_ms": ends if chance.random() < 0.2 else None,
            "on_unknown": "hold" if chance.random() < 0.3 else "resend",
        }
    )


class IngestProcess:
    """`accept` and `suppressions` may be called once it has started."""

    def __init__(self, cluster: Cluster, process: Process, random: Random, skew_ms: int) -> None:
        self.process = process
        log = cast("Any", SimulatedLog(cluster, process, skew_ms))
        claims_tail, self._table_tail = cast("Any", SimulatedTail(cluster, process)), SimulatedTail(cluster, process)
        window = IDEMPOTENCY.retention
        assert window is not None
        claims = Claims(
            log, claims_tail, process, topic=IDEMPOTENCY.name, read=read, window=window / 2, path=None
        )  # the window is a day, and the log keeps two of them
        self._idempotency = LogIdempotency(log, claims_tail, claims, process)
        self._table = Table(SUPPRESSIONS, Suppression, log, cast("Any", self._table_tail), process)
        ids = MessageIds({1: b"0123456789abcdef"}, 1, random.getrandbits)
        submissions = _Submissions(log, process, first_turn=random.randint(0, 1))
        self.accept = AcceptMessage(
            process, ids, Directory(), submissions, self._idempotency, LINKS, NoTemplates(), NoTemplates(), NoStorage()
        )
        self.suppressions = ManageSuppressions(
            process, SuppressionEntities(self._table, process), LogAccountEvents(log)
        )
        self.started = False

    async def start(self) -> None:
        await self._table_tail.follow(SUPPRESSIONS.name, 0, self._table.apply)
        await self._table_tail.caught_up(SUPPRESSIONS.name, 0, within=60)
        await self._idempotency.start()
        self.started = True
