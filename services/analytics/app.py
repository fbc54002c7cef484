"""Composition root of analytics: the one place that knows every part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter

from chassis.clock import Clock, SystemClock
from chassis.consume import BatchConsumer, Gathering
from chassis.failures import DeadLetters
from chassis.http import HttpServer, create_app
from chassis.log import Log
from chassis.presence import TopicsPresence
from chassis.service import Crash, Part
from schemas.topics import TOPICS, Topic, message_inputs
from services.analytics.adapters.attempt_reads import ClickHouseAttempts
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.adapters.dead_letter_reads import ClickHouseDeadLetters
from services.analytics.adapters.feed_reads import ClickHouseFeed
from services.analytics.adapters.ledger_book import LedgerBook
from services.analytics.adapters.ledger_log import KafkaLedgerLog
from services.analytics.adapters.ledger_reads import ClickHouseLedger
from services.analytics.adapters.message_reads import ClickHouseMessages
from services.analytics.adapters.projection import ClickHouseProjection
from services.analytics.adapters.questions import Questions
from services.analytics.adapters.sandbox_reads import ClickHouseSandbox
from services.analytics.adapters.schema import retention
from services.analytics.api.asking import add_routers
from services.analytics.api.attempts import attempt_routes
from services.analytics.api.dead_letters import dead_letter_routes
from services.analytics.api.events import event_routes
from services.analytics.api.ledger import ledger_routes
from services.analytics.api.messages import message_routes
from services.analytics.api.sandbox import sandbox_routes
from services.analytics.arrivals import Arrivals
from services.analytics.audit import Audit, Auditor
from services.analytics.handlers import Ingest
from services.analytics.metrics import LAG
from services.analytics.ports import FeedReads
from services.analytics.settings import AnalyticsSettings

GROUP = "analytics"
FEED = ("message-events", "account-events")  # what `GET /v1/events` gives out; calls of endpoints are no events
SOURCES = (TOPICS["message-events"], TOPICS["account-events"], TOPICS["webhook-attempts"], TOPICS["sandbox-mails"])
INPUTS = (message_inputs("express"), message_inputs("standard"))
ROUTER = "router"  # the group that decides on them

# Seconds between two polls of an idle group. A short one costs more than all else that an idle analytics does.
_POLL = 0.1
# The ledger looks no further back than this before the events' retention: both sides drop what is older, each in its time.
_LEDGER_MARGIN = timedelta(days=1)


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
) -> AnalyticsService:
    """Everything in the order it starts: HTTP first, so that health can be asked while ClickHouse is waited for."""
    clock, crash = SystemClock(), Crash()
    kept = retention(events=_kept("message-events"), attempts=_kept("webhook-attempts"), sandbox=_kept("sandbox-mails"))
    clickhouse = ClickHouse(settings.clickhouse_url.get_secret_value(), settings.clickhouse_database, kept, clock)
    log = Log(settings.kafka, client_id=f"analytics-{settings.instance}")
    deadline = settings.read_deadline.total_seconds()
    questions = Questions(clickhouse, clock, deadline=deadline)
    feed = ClickHouseFeed(questions, [topic for topic in topics if topic.entry in FEED])
    arrivals = Arrivals(clock, crash, feed if clickhouse.shared else None)
    ingest = Ingest(ClickHouseProjection(clickhouse, clock), clock, arrivals.of, batch_records=settings.batch_records)
    consumer = BatchConsumer(
        settings.kafka,
        log,
        clock,
        DeadLetters(log, group=group),
        group=group,
        topics=topics,
        handle=ingest.handle,
        max_records=settings.batch_records,
        max_wait=_POLL,
        gathering=_gathering(settings),
        crash=crash,
    )
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
        window=_kept("message-events") - _LEDGER_MARGIN,
    )
    add_routers(
        app,
        [
            *routers(questions, clock, feed, arrivals, pending_window=settings.pending_window),
            ledger_routes(audit, clock, deadline=deadline),
        ],
        clock,
        secret=settings.internal_secret.get_secret_value().encode(),
    )
    http = HttpServer(app, settings.host, settings.port, crash)
    return AnalyticsService(parts=(http, presence, log, clickhouse, consumer, auditor, arrivals), crash=crash)


def routers(
    questions: Questions, clock: Clock, feed: FeedReads, arrivals: Arrivals, *, pending_window: timedelta
) -> Sequence[APIRouter]:
    """The resources of the API, each on its port."""
    return (
        message_routes(
            ClickHouseMessages(questions), clock, pending_window_ms=int(pending_window.total_seconds() * 1000)
        ),
        event_routes(feed, arrivals),
        attempt_routes(ClickHouseAttempts(questions)),
        dead_letter_routes(ClickHouseDeadLetters(questions)),
        sandbox_routes(ClickHouseSandbox(questions)),
    )


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
