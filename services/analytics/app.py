"""Composition root of analytics: the one place that knows every part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter

from chassis.clock import Clock, SystemClock
from chassis.consume import BatchConsumer, Gathering, HandleOf
from chassis.failures import DeadLetters
from chassis.http import HttpServer, create_app
from chassis.log import Log
from chassis.partition_owner import OwnedPartition, PartitionOwner
from chassis.presence import TopicsPresence
from chassis.service import Crash, Part
from chassis.table import Tables
from chassis.tail import Tail
from schemas.alerts import AlertRule
from schemas.topics import TOPICS, Topic, message_inputs
from services.analytics.adapters.alert_rules import TableAlertRules
from services.analytics.adapters.attempt_reads import ClickHouseAttempts
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.adapters.dead_letter_reads import ClickHouseDeadLetters
from services.analytics.adapters.feed_reads import ClickHouseFeed
from services.analytics.adapters.ledger_book import LedgerBook
from services.analytics.adapters.ledger_log import KafkaLedgerLog
from services.analytics.adapters.ledger_reads import ClickHouseLedger
from services.analytics.adapters.log_positions import KafkaPositions
from services.analytics.adapters.message_reads import ClickHouseMessages
from services.analytics.adapters.metric_reads import ClickHouseMetrics
from services.analytics.adapters.projection import ClickHouseProjection
from services.analytics.adapters.questions import Questions
from services.analytics.adapters.sandbox_reads import ClickHouseSandbox
from services.analytics.adapters.schema import retention
from services.analytics.adapters.shadow import ClickHouseShadow
from services.analytics.alerting import Alerting
from services.analytics.api.asking import add_routers
from services.analytics.api.attempts import attempt_routes
from services.analytics.api.dead_letters import dead_letter_routes
from services.analytics.api.events import event_routes
from services.analytics.api.explanations import explanation_routes
from services.analytics.api.ledger import ledger_routes
from services.analytics.api.messages import message_routes
from services.analytics.api.metrics import metric_routes
from services.analytics.api.rebuild import rebuild_routes
from services.analytics.api.sandbox import sandbox_routes
from services.analytics.arrivals import Arrivals
from services.analytics.audit import Audit, Auditor
from services.analytics.delay import Delay
from services.analytics.handlers import AnyRow, Ingest, row_of
from services.analytics.metrics import LAG
from services.analytics.ports import FeedReads, Projection
from services.analytics.rebuild import Rebuild
from services.analytics.settings import AnalyticsSettings

GROUP = "analytics"
FEED = ("message-events", "account-events")  # what `GET /v1/events` gives out; calls of endpoints are no events
SOURCES = (
    TOPICS["message-events"],
    TOPICS["account-events"],
    TOPICS["webhook-attempts"],
    TOPICS["sandbox-mails"],
    TOPICS["destinations"],
)
INPUTS = (message_inputs("express"), message_inputs("standard"))
ROUTER = "router"  # the group that decides on them


@dataclass(frozen=True, slots=True)
class AlertTopics:
    rules: Topic
    states: Topic


ALERTS = AlertTopics(TOPICS["alert-rules"], TOPICS["alert-states"])

# Seconds that a fetch waits at the broker. A short one costs more than all else that an idle analytics does.
_FETCH_WAIT = 0.5
# What is this near to its retention may be gone from the log or the tables already, each in its own time.
_MARGIN = timedelta(days=1)


@dataclass(slots=True)
class AnalyticsService:
    parts: Sequence[Part]
    crash: Crash


async def build(
    settings: AnalyticsSettings,
    *,
    group: str = GROUP,
    topics: Sequence[Topic] = SOURCES,
    inputs: Sequence[Topic] = INPUTS,
    router: str = ROUTER,
    alerts: AlertTopics | None = ALERTS,
) -> AnalyticsService:
    """Everything in the order it starts: HTTP first, so that health can be asked while ClickHouse is waited for.

    `alerts` None: nobody looks at rules here.
    """
    clock, crash = SystemClock(), Crash()
    kept = retention(events=_kept("message-events"), attempts=_kept("webhook-attempts"), sandbox=_kept("sandbox-mails"))
    clickhouse = ClickHouse(settings.clickhouse_url.get_secret_value(), settings.clickhouse_database, kept, clock)
    log = Log(settings.kafka, client_id=f"analytics-{settings.instance}")
    deadline = settings.read_deadline.total_seconds()
    questions = Questions(clickhouse, clock, deadline=deadline)
    feed = ClickHouseFeed(questions, [topic for topic in topics if topic.entry in FEED])
    arrivals = Arrivals(clock, crash, feed if clickhouse.shared else None)

    def consumer_of(member_of: str, handle: HandleOf[AnyRow]) -> BatchConsumer:
        return BatchConsumer(
            settings.kafka,
            log,
            clock,
            DeadLetters(log, group=group),
            group=member_of,
            topics=topics,
            handle=handle,
            read=row_of,
            max_records=settings.batch_records,
            fetch_wait=_FETCH_WAIT,
            gathering=_gathering(settings),
            crash=crash,
        )

    def rebuilder_of(projection: Projection, member_of: str) -> BatchConsumer:
        ingest = Ingest(projection, clock, lambda _: None, lambda *_: None, batch_records=settings.batch_records)
        return consumer_of(member_of, ingest.handle)

    delay = Delay()
    ingest = Ingest(
        ClickHouseProjection(clickhouse, clock), clock, arrivals.of, delay.told, batch_records=settings.batch_records
    )
    consumer = consumer_of(group, ingest.handle)
    LAG.set_function(consumer.lag)
    presence = TopicsPresence(settings.kafka, clock, topics)
    app = create_app("analytics", lambda: [*presence.missing(), *clickhouse.ready(), *consumer.ready()])
    events = next(topic for topic in topics if topic.entry == "message-events")
    audit = Audit(
        ClickHouseLedger(questions, events),
        KafkaLedgerLog(settings.kafka, clock, events, inputs, group=group, router=router),
        LedgerBook(settings.state_dir / "ledger.sqlite"),
        clock,
    )
    auditor = Auditor(
        audit,
        clock,
        crash,
        every=settings.ledger_every.total_seconds(),
        window=_kept("message-events") - _MARGIN,
    )
    rebuild = Rebuild(
        ClickHouseShadow(
            clickhouse,
            clock,
            {
                "events_raw": _kept("message-events") - _MARGIN,
                "webhook_attempts": _kept("webhook-attempts") - _MARGIN,
                "sandbox_mails": _kept("sandbox-mails") - _MARGIN,
            },
        ),
        KafkaPositions(settings.kafka, topics),
        rebuilder_of,
        clickhouse.inserts_held,
        clock,
        crash,
        group=group,
        instance=settings.instance,
    )
    secret = settings.internal_secret.get_secret_value().encode()
    add_routers(
        app,
        [
            *routers(questions, clock, feed, arrivals, pending_window=settings.pending_window),
            metric_routes(ClickHouseMetrics(questions), clock, lambda: delay.ms(consumer.lag())),
            ledger_routes(audit, clock, deadline=deadline),
        ],
        clock,
        secret=secret,
    )
    app.include_router(rebuild_routes(rebuild, clock, secret=secret))
    http = HttpServer(app, settings.host, settings.port, crash)
    watching = [] if alerts is None else _watching(settings, clock, crash, log, questions, topics, alerts, group)
    parts: Sequence[Part] = (http, presence, log, clickhouse, consumer, auditor, arrivals, rebuild, *watching)
    return AnalyticsService(parts=parts, crash=crash)


def routers(
    questions: Questions, clock: Clock, feed: FeedReads, arrivals: Arrivals, *, pending_window: timedelta
) -> Sequence[APIRouter]:
    """The resources of the API, each on its port."""
    messages, pending_ms = ClickHouseMessages(questions), int(pending_window.total_seconds() * 1000)
    return (
        message_routes(messages, clock, pending_window_ms=pending_ms),
        explanation_routes(messages, clock, pending_window_ms=pending_ms),
        event_routes(feed, arrivals),
        attempt_routes(ClickHouseAttempts(questions)),
        dead_letter_routes(ClickHouseDeadLetters(questions)),
        sandbox_routes(ClickHouseSandbox(questions)),
    )


def _watching(
    settings: AnalyticsSettings,
    clock: Clock,
    crash: Crash,
    log: Log,
    questions: Questions,
    topics: Sequence[Topic],
    alerts: AlertTopics,
    group: str,
) -> Sequence[Part]:
    """Who looks at the rules of alerts: one of all replicas, the owner of the one partition of their states."""
    name, owners = f"analytics-{settings.instance}", f"{group}.alerts"
    events, account_events = (next(t for t in topics if t.entry == entry) for entry in FEED)
    tail = Tail(settings.kafka, client_id=f"{name}-alerts", crash=crash)
    tables = Tables(settings.kafka, log, clock, client_id=f"{name}-tables", crash=crash)
    rules = TableAlertRules(tables, tables.table(alerts.rules, AlertRule))
    positions = KafkaPositions(settings.kafka, [events])
    numbers = ClickHouseMetrics(questions)

    def view(topic: Topic, _: int) -> OwnedPartition:
        return Alerting(topic, account_events, rules, numbers, positions, clock, group=group)

    owner = PartitionOwner(
        settings.kafka,
        log,
        tail,
        clock,
        DeadLetters(log, group=owners),
        group=owners,
        changelogs={alerts.states: alerts.states},
        factory=view,
        owner_id=name,
        crash=crash,
    )
    return (positions, tail, tables, owner)


def _gathering(settings: AnalyticsSettings) -> Gathering:
    """Inserts of a tenth of the most they may be are large enough: then there is no need to wait."""
    return Gathering(
        settings.insert_linger.total_seconds(), settings.insert_every.total_seconds(), settings.batch_records // 10
    )


def _kept(entry: str) -> timedelta:
    """The retention of a topic is the age to which its rows are kept: one setting for both."""
    span = TOPICS[entry].retention
    assert span is not None, "a topic that is deleted by age has a retention"
    return span
