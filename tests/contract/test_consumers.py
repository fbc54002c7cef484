"""Every consumer survives every example of its topics (R32), by the code it reads them with."""

from collections.abc import Callable
from typing import Any, cast

import orjson
import pytest

from chassis.claims import ClaimOf, CloseOf
from chassis.clock import SystemClock
from chassis.log import Incoming, Log
from chassis.settings import KafkaSettings
from chassis.table import Table, Tables
from schemas.alerts import AlertRule, AlertState
from schemas.deliveries import Delivery
from schemas.envelope import Payload, decode
from schemas.replies import Verdict
from schemas.routing import Policy, QueueFlush, QueuePause, Route, Upstream
from schemas.tables import (
    ApiKey,
    ApiKeyUsage,
    Domain,
    EndpointExhaustion,
    EndpointHealth,
    Project,
    Suppression,
    WebhookEndpoint,
)
from schemas.templates import Template, TemplateVersion
from schemas.topics import TOPICS
from schemas.webhooks import ReplayState
from services.analytics.alerting import Alerting
from services.analytics.domain.destinations import DestinationRow
from services.analytics.handlers import row_of
from services.ingest.adapters.directory import KeyIndex
from services.ingest.adapters.entities import TableEntities
from services.ingest.adapters.idempotency import read as read_claim
from services.ingest.adapters.latest import LatestRecords
from services.ingest.adapters.queue_controls import TableQueueControls
from services.ingest.adapters.templates import TableTemplates
from services.ingest.adapters.versions import TableVersions
from services.router.adapters.ladders import ProjectLadders
from services.router.adapters.routing_index import RoutingIndex
from services.router.adapters.routing_tables import RoutingTables
from services.router.adapters.suppressions import SuppressionIndex as RouterSuppressions
from services.sender.adapters.suppressions import SuppressionIndex as SenderSuppressions
from services.sender.domain.mime import compose
from services.webhooks.adapters.endpoints import EndpointTable
from services.webhooks.domain.queue import Limits, Queue
from services.webhooks.handlers import DeliveryPartition
from tests.kit.examples import Example, examples_of
from tests.unit.webhooks.made import Begun, unpaced

# Where a consumer's own unit tests run over the examples, through more of it than could stand here.
ELSEWHERE = {
    ("message-inputs.express", "router"),  # tests/unit/router/test_contract.py
    ("message-inputs.standard", "router"),
    ("message-state.express", "router"),
    ("message-state.standard", "router"),
    ("message-events", "webhooks"),  # tests/unit/webhooks/test_fan_out.py
    ("account-events", "webhooks"),  # as well
    ("webhook-commands", "webhooks"),  # tests/unit/webhooks/test_commands.py
    ("message-inputs.express", "analytics"),  # tests/unit/analytics/test_ledger.py
    ("message-inputs.standard", "analytics"),
    ("message-events", "analytics"),  # tests/unit/analytics/test_rows.py
    ("account-events", "analytics"),
    ("webhook-attempts", "analytics"),
    ("sandbox-mails", "analytics"),
}

Read = Callable[[Incoming], object]


def tables() -> Tables:
    kafka = KafkaSettings()
    return Tables(kafka, Log(kafka, client_id="contract"), SystemClock(), client_id="contract")


def table_of(entry: str, payload: type[Any], index: Callable[[Tables, Any], object]) -> Read:
    """A table as the service declares it, with the service's index on top."""
    made = tables()
    table = made.table(TOPICS[entry], payload)
    index(made, table)

    def read(record: Incoming) -> None:
        table.apply(record)
        assert record.key in table

    return read


def claim(record: Incoming) -> None:
    assert isinstance(read_claim(record), ClaimOf | CloseOf)


def mail(record: Incoming) -> None:
    delivery = decode(record.value, TOPICS["deliveries.main.standard"].types).data
    assert isinstance(delivery, Delivery)
    assert delivery.message_id.encode() in compose(delivery).data


def verdict(record: Incoming) -> None:
    assert isinstance(decode(record.value, TOPICS["replies"].types).data, Verdict)


def journal(record: Incoming) -> None:
    decode(record.value, TOPICS["attempt-journal"].types)


def delivery(record: Incoming) -> None:
    partition = DeliveryPartition(0, Queue(Limits(per_endpoint=1, shared=1, total=1), unpaced), Begun(), lambda: None)
    partition.apply(record)


def templates(record: Incoming) -> None:
    table: Table[Payload] = tables().table(TOPICS["templates"], Template, TemplateVersion)
    TableTemplates(table, SystemClock())
    table.apply(record)
    assert record.key in table


def queue_controls(record: Incoming) -> None:
    table: Table[Payload] = tables().table(TOPICS["queue-controls"], QueuePause, QueueFlush)
    controls = TableQueueControls(table, SystemClock())
    table.apply(record)
    (control,) = table.values()
    assert isinstance(control, QueuePause | QueueFlush)
    owner = control.project_id
    assert [*controls.pauses(frozenset({owner})), *controls.flushes(owner)] == [control]


def latest_of(entry: str) -> Read:
    """Kept as bytes, read when somebody asks."""
    latest = LatestRecords(TOPICS[entry])

    def read(record: Incoming) -> None:
        latest.apply(record)
        assert list(latest.read())

    return read


def routing(entry: str) -> Read:
    """As the router's own part of the service folds it."""

    def read(record: Incoming) -> None:
        index = RoutingIndex("upstream", "main", SystemClock())
        parts = RoutingTables(cast("Any", None), cast("Any", None), SystemClock(), index)
        (table,) = (table for table in parts._tables if table.topic is TOPICS[entry])
        table.apply(record)
        assert record.key in table
        assert index.now().paths.default == "upstream"

    return read


def versions(_: Tables, table: Any) -> None:
    TableVersions(table, SystemClock())


def replays(_: Tables, table: Table[ReplayState]) -> None:
    TableEntities(table, SystemClock())


def plain(_: Tables, __: object) -> None:
    """The service reads the table as it is."""


def endpoints(made: Tables, table: Table[WebhookEndpoint]) -> None:
    health = made.table(TOPICS["endpoint-health"], EndpointHealth)
    EndpointTable(made, table, health, SystemClock())


def healths(made: Tables, table: Table[EndpointHealth]) -> None:
    EndpointTable(made, made.table(TOPICS["webhook-endpoints"], WebhookEndpoint), table, SystemClock())


def alert_states(record: Incoming) -> None:
    nobody: Any = None
    view = Alerting(TOPICS["alert-states"], TOPICS["account-events"], nobody, nobody, nobody, SystemClock(), group="g")
    view.apply(record)
    assert record.key in view._states


def destination(record: Incoming) -> None:
    row = row_of(record, TOPICS["destinations"])
    assert isinstance(row, DestinationRow)


READERS: dict[tuple[str, str], Read] = {
    ("suppressions", "ingest"): table_of("suppressions", Suppression, plain),
    ("suppressions", "router"): table_of("suppressions", Suppression, RouterSuppressions),
    ("suppressions", "sender"): table_of("suppressions", Suppression, SenderSuppressions),
    ("api-keys", "ingest"): table_of("api-keys", ApiKey, lambda _, table: KeyIndex(table, {})),
    ("api-key-usage", "ingest"): table_of("api-key-usage", ApiKeyUsage, plain),
    ("projects", "ingest"): table_of("projects", Project, plain),
    ("projects", "router"): table_of("projects", Project, lambda _, table: ProjectLadders(table).of("prj_1")),
    ("domains", "ingest"): table_of("domains", Domain, plain),
    ("domains", "sender"): table_of("domains", Domain, plain),
    ("webhook-endpoints", "ingest"): table_of("webhook-endpoints", WebhookEndpoint, plain),
    ("webhook-endpoints", "webhooks"): table_of("webhook-endpoints", WebhookEndpoint, endpoints),
    ("endpoint-health", "ingest"): table_of("endpoint-health", EndpointHealth, plain),
    ("endpoint-health", "webhooks"): table_of("endpoint-health", EndpointHealth, healths),
    ("endpoint-exhaustions", "webhooks"): table_of("endpoint-exhaustions", EndpointExhaustion, plain),
    ("webhook-replays", "ingest"): table_of("webhook-replays", ReplayState, replays),
    ("templates", "ingest"): templates,
    ("routes", "ingest"): table_of("routes", Route, versions),
    ("upstreams", "ingest"): table_of("upstreams", Upstream, versions),
    ("upstreams", "sender"): table_of("upstreams", Upstream, plain),
    ("policies", "ingest"): table_of("policies", Policy, versions),
    ("policies", "sender"): table_of("policies", Policy, plain),
    ("queue-controls", "ingest"): queue_controls,
    ("queue-state", "ingest"): latest_of("queue-state"),
    ("path-health", "ingest"): latest_of("path-health"),
    ("destinations", "ingest"): latest_of("destinations"),
    ("destinations", "analytics"): destination,
    ("alert-rules", "ingest"): table_of("alert-rules", AlertRule, versions),
    ("alert-rules", "analytics"): table_of("alert-rules", AlertRule, plain),
    ("alert-states", "ingest"): table_of("alert-states", AlertState, plain),
    ("alert-states", "analytics"): alert_states,
    **{
        (entry, "router"): routing(entry)
        for entry in ("routes", "upstreams", "policies", "queue-controls", "destinations", "path-health", "domains")
    },
    ("idempotency", "ingest"): claim,
    ("replies", "ingest"): verdict,
    ("deliveries.main.express", "sender"): mail,
    ("deliveries.main.standard", "sender"): mail,
    ("attempt-journal", "sender"): journal,
    ("webhook-deliveries", "webhooks"): delivery,
}


def test_every_consumer_of_every_topic_is_covered() -> None:
    consumers = {(entry, service) for entry, topic in TOPICS.items() for service in topic.consumers}
    assert set(READERS) | ELSEWHERE == consumers


@pytest.mark.parametrize(("entry", "service"), READERS, ids=str)
def test_a_consumer_reads_every_example(entry: str, service: str) -> None:
    for example in examples_of(entry):
        READERS[entry, service](_as_read(entry, example))


def _as_read(entry: str, example: Example) -> Incoming:
    key = orjson.loads(example.value)["subject"]
    return Incoming(TOPICS[entry].name, 0, 0, 0, key, example.value, ())
