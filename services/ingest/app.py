"""Ingest, put together: the only module that knows both what it does and what it does it with."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from secrets import randbits

from fastapi import FastAPI
from starlette.types import ASGIApp

from chassis.blobs import Blobs, open_storage
from chassis.budget import ByteBudget
from chassis.claims import Claims
from chassis.clock import Clock, SystemClock
from chassis.http import HttpServer, create_app, direct
from chassis.ids import MessageIds
from chassis.log import Log
from chassis.presence import TopicsPresence, used_by
from chassis.service import Crash, Part
from chassis.table import Table, Tables
from chassis.tail import Tail
from schemas.alerts import AlertRule, AlertState
from schemas.envelope import Payload
from schemas.routing import Policy, QueueFlush, QueuePause, Route, Upstream
from schemas.tables import ApiKey, ApiKeyUsage, Domain, EndpointHealth, Project, Suppression, WebhookEndpoint
from schemas.templates import Template, TemplateVersion
from schemas.topics import TOPICS
from schemas.webhooks import ReplayState
from services.ingest.adapters.account_events import LogAccountEvents
from services.ingest.adapters.analytics import HttpAnalytics
from services.ingest.adapters.blobs import StoredContents, Sweeper
from services.ingest.adapters.dead_letters import ReadDeadLetters
from services.ingest.adapters.directory import KeyIndex, SenderDirectory, TableFreshness
from services.ingest.adapters.dkim_keys import NewKeyPairs
from services.ingest.adapters.dns import ResolvedRecords
from services.ingest.adapters.domain_checks import DomainChecks
from services.ingest.adapters.domains import TableDomains
from services.ingest.adapters.endpoint_commands import LogEndpointCommands
from services.ingest.adapters.endpoints import StandingEndpoints
from services.ingest.adapters.entities import TableEntities
from services.ingest.adapters.feedback import LogFeedback
from services.ingest.adapters.idempotency import LogIdempotency, read
from services.ingest.adapters.key_usage import TableKeyUsage
from services.ingest.adapters.latest import ObservedDelivery
from services.ingest.adapters.originals import LoggedOriginals
from services.ingest.adapters.queue_controls import TableQueueControls
from services.ingest.adapters.rate_limits import MemoryRateLimits, ValkeyRateLimits
from services.ingest.adapters.rendering import RenderingPool
from services.ingest.adapters.replies import LogCommands
from services.ingest.adapters.submissions import LogSubmissions
from services.ingest.adapters.suppressions import SuppressionEntities
from services.ingest.adapters.templates import TableTemplates
from services.ingest.adapters.versions import TableVersions
from services.ingest.admission import Admission
from services.ingest.api import errors
from services.ingest.api.alerts import alerts_router
from services.ingest.api.bodies import Mails
from services.ingest.api.commands import commands_router
from services.ingest.api.dashboard import Dashboard
from services.ingest.api.dead_letters import dead_letters_router
from services.ingest.api.documents import documents_router
from services.ingest.api.domains import domains_router
from services.ingest.api.edge import Edge, Gate
from services.ingest.api.event_pages import event_pages_router
from services.ingest.api.events import events_router
from services.ingest.api.keys import keys_router
from services.ingest.api.ledger import ledger_router
from services.ingest.api.messages import Shortcut, messages_router, sending
from services.ingest.api.metrics import metrics_router
from services.ingest.api.policies import policies_router
from services.ingest.api.pools import pools_router
from services.ingest.api.projects import projects_router
from services.ingest.api.queues import queues_router
from services.ingest.api.replays import replays_router
from services.ingest.api.routes import routes_router
from services.ingest.api.sandbox import sandbox_router
from services.ingest.api.suppressions import suppressions_router
from services.ingest.api.templates import templates_router
from services.ingest.api.unsubscribe import unsubscribe_router
from services.ingest.api.upstreams import upstreams_router
from services.ingest.api.webhooks import webhooks_router
from services.ingest.domain.unsubscribe import UnsubscribeLinks
from services.ingest.handlers import AcceptMessage
from services.ingest.management.alerts import ManageAlerts, kept_alerts
from services.ingest.management.commands import ManageMessages
from services.ingest.management.domains import ManageDomains
from services.ingest.management.endpoints import ManageEndpoints
from services.ingest.management.keys import ManageKeys
from services.ingest.management.policies import ManagePolicies, kept_policies
from services.ingest.management.pools import ShowPools
from services.ingest.management.projects import ManageProjects
from services.ingest.management.queues import ManageQueues
from services.ingest.management.reads import ReadThrough
from services.ingest.management.replays import ManageReplays
from services.ingest.management.route_forecasts import ForecastRoutes, RoutingTables
from services.ingest.management.routes import ManageRoutes, kept_routes
from services.ingest.management.suppressions import ManageSuppressions
from services.ingest.management.templates import ManageTemplates
from services.ingest.management.unsubscribe import Unsubscribe
from services.ingest.management.upstreams import ManageUpstreams, kept_upstreams
from services.ingest.redrives import Failed
from services.ingest.settings import IngestSettings, seals_of
from services.ingest.streams import Streams

_FRESH_WITHIN = 1.0  # seconds a request waits for tables that lag
_STORAGE_WITHIN = 20.0  # seconds for one blob; what takes longer is away
_READY_LAG = 2.0  # seconds that tables may lag before the load balancer should look elsewhere


@dataclass(slots=True)
class Ingest:
    """The service: HTTP first, so that it can answer 503 while the brokers are away."""

    parts: Sequence[Part]
    crash: Crash
    app: FastAPI  # its routes are what the API has


@dataclass(frozen=True, slots=True)
class Far:
    """Whatever ingest reaches outside of its own memory."""

    log: Log
    tables: Tables
    usage: TableKeyUsage
    shared: ValkeyRateLimits | None
    idempotency: LogIdempotency
    commands: LogCommands
    analytics: HttpAnalytics
    rendering: RenderingPool
    blobs: Blobs
    presence: TopicsPresence
    observed: ObservedDelivery


class Kafkaside:
    """All parts that wait for brokers: started in the background, one after the other, stopped in reverse."""

    def __init__(self, parts: Sequence[Part], crash: Crash) -> None:
        self._parts = parts
        self._crash = crash
        self._started: list[Part] = []
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._starting = asyncio.create_task(self._start_all(), name="kafka-side")
        self._crash.watch(self._starting)

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        for part in reversed(self._started):
            await part.stop()

    async def _start_all(self) -> None:
        for part in self._parts:
            self._started.append(part)
            await part.start()


async def build(settings: IngestSettings, clock: Clock | None = None) -> Ingest:
    """Make every part of the service; nothing is started yet."""
    clock = clock or SystemClock()
    crash = Crash()
    name = f"ingest-{settings.instance}"
    log = Log(settings.kafka, client_id=name)
    tables = Tables(settings.kafka, log, clock, client_id=f"{name}-tables", crash=crash)
    far = Far(
        log=log,
        tables=tables,
        usage=TableKeyUsage(tables.table(TOPICS["api-key-usage"], ApiKeyUsage), log, clock, crash),
        shared=_shared_limits(settings, clock),
        idempotency=_idempotency(settings, log, clock, crash),
        commands=_commands(settings, clock, log, crash),
        analytics=HttpAnalytics(settings.analytics_url, settings.internal_secret.get_secret_value().encode(), clock),
        rendering=RenderingPool(),
        blobs=Blobs(open_storage(settings.blob_url), within=_STORAGE_WITHIN),
        presence=TopicsPresence(settings.kafka, clock, used_by("ingest")),
        observed=ObservedDelivery(settings.kafka, clock, crash, client_id=f"{name}-observed"),
    )
    domains = tables.table(TOPICS["domains"], Domain)
    managed_domains = _managed_domains(settings, clock, domains)
    app, front, admission, streams = _app(settings, clock, far, domains, managed_domains, crash)
    sweeper = Sweeper(far.blobs, log, clock, crash)
    checks = DomainChecks(managed_domains.check_due, clock, crash)
    kafka_side = Kafkaside(
        [log, tables, far.usage, far.idempotency, far.commands, far.observed, sweeper, checks], crash
    )
    http = HttpServer(Edge(front, admission, settings.trusted_proxies), settings.host, settings.port, crash)
    shared = [far.shared] if far.shared else []
    return Ingest([*shared, far.analytics, far.rendering, far.presence, kafka_side, http, streams], crash, app)


def _idempotency(settings: IngestSettings, log: Log, clock: Clock, crash: Crash) -> LogIdempotency:
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    tail = Tail(settings.kafka, client_id=f"ingest-{settings.instance}-claims", crash=crash, clock=clock)
    claims = Claims(
        log,
        tail,
        clock,
        topic=TOPICS["idempotency"].name,
        read=read,
        window=settings.idempotency_window,
        path=settings.state_dir / "idempotency.sqlite",
    )
    return LogIdempotency(log, tail, claims, clock)


def _commands(settings: IngestSettings, clock: Clock, log: Log, crash: Crash) -> LogCommands:
    """A tail of their own: a verdict, for which a client waits, never stands behind the claim log."""
    name = f"ingest-{settings.instance}"
    tail = Tail(settings.kafka, client_id=f"{name}-replies", crash=crash, clock=clock)
    return LogCommands(log, tail, clock, instance=name)


def _managed_domains(settings: IngestSettings, clock: Clock, domains: Table[Domain]) -> ManageDomains:
    return ManageDomains(
        clock,
        TableDomains(domains, clock),
        NewKeyPairs(),
        seals_of(settings.sealing_keys),
        ResolvedRecords(settings.dns_servers),
        settings.mail_domain,
    )


def _app(
    settings: IngestSettings,
    clock: Clock,
    far: Far,
    domains: Table[Domain],
    managed_domains: ManageDomains,
    crash: Crash,
) -> tuple[FastAPI, ASGIApp, Admission, Streams]:
    log, tables = far.log, far.tables
    keys = tables.table(TOPICS["api-keys"], ApiKey)
    projects = tables.table(TOPICS["projects"], Project)
    suppressions = SuppressionEntities(tables.table(TOPICS["suppressions"], Suppression), clock)
    ids = _message_ids(settings)

    admission = Admission(
        clock,
        TableFreshness(tables, within=_FRESH_WITHIN),
        KeyIndex(keys, projects),
        far.usage,
        MemoryRateLimits(clock),
        replicas=settings.replicas,
        shared=far.shared,
    )
    senders = SenderDirectory(projects, domains)
    submissions = LogSubmissions(log, clock, first_turn=randbits(16))
    links = _links(settings)
    template_table: Table[Payload] = tables.table(TOPICS["templates"], Template, TemplateVersion)
    templates = TableTemplates(template_table, clock)
    contents = StoredContents(far.blobs, clock)
    accept = AcceptMessage(clock, ids, senders, submissions, far.idempotency, links, templates, far.rendering, contents)
    endpoints, replays = _managed_webhooks(settings, clock, far)
    reads = ReadThrough(ids, endpoints, far.analytics)

    def missing() -> list[str]:
        lacks = [] if tables.fresh_within(_READY_LAG) else ["tables: not caught up with Kafka"]
        lacks += [] if far.idempotency.ready() else ["idempotency: not caught up with Kafka"]
        lacks += [] if far.commands.ready() else ["replies: not in touch with Kafka"]
        return [*lacks, *far.presence.missing()]

    app = create_app("Sendarix", missing)
    errors.install(app)
    gate = Gate(admission, clock)
    memory = ByteBudget(settings.large_body_memory)
    mails = Mails(memory)
    send = sending(gate, accept, mails)
    app.include_router(messages_router(gate, send, sending(gate, accept.batch, mails), reads))
    streams = _streams(settings, clock, admission, crash)
    app.include_router(events_router(gate, reads, streams))
    app.include_router(metrics_router(gate, reads))
    app.include_router(ledger_router(gate, reads))
    app.include_router(sandbox_router(gate, reads))
    app.include_router(commands_router(gate, ManageMessages(clock, ids, far.commands, far.analytics)))
    app.include_router(webhooks_router(gate, endpoints, reads))
    app.include_router(replays_router(gate, replays))
    kept_templates = ManageTemplates(clock, templates, far.rendering, keep=2 * settings.idempotency_window)
    app.include_router(templates_router(gate, kept_templates))
    events = LogAccountEvents(log)
    app.include_router(suppressions_router(gate, ManageSuppressions(clock, suppressions, events)))
    unsubscribe = Unsubscribe(clock, suppressions, events, LogFeedback(log))
    app.include_router(unsubscribe_router(gate, links, unsubscribe))
    app.include_router(keys_router(gate, ManageKeys(clock, TableEntities(keys, clock), senders, far.usage)))
    app.include_router(domains_router(gate, managed_domains))
    app.include_router(projects_router(gate, ManageProjects(clock, TableEntities(projects, clock))))
    failed = Failed(ids, ReadDeadLetters(far.analytics), _originals(settings, clock), contents)
    app.include_router(dead_letters_router(gate, reads, accept, failed, memory))
    _add_alerts(app, gate, clock, far)
    _add_delivery(app, gate, settings, clock, far, projects)
    app.include_router(documents_router())
    app.mount("/dashboard", Dashboard(settings.dashboard_dir))
    app.include_router(event_pages_router())
    return app, Shortcut(app, direct(app, send)), admission, streams


def _managed_webhooks(settings: IngestSettings, clock: Clock, far: Far) -> tuple[ManageEndpoints, ManageReplays]:
    standing = StandingEndpoints(
        far.tables.table(TOPICS["webhook-endpoints"], WebhookEndpoint),
        far.tables.table(TOPICS["endpoint-health"], EndpointHealth),
        clock,
    )
    replays = TableEntities(far.tables.table(TOPICS["webhook-replays"], ReplayState), clock)
    commands = LogEndpointCommands(far.log)
    seals, loopback = seals_of(settings.sealing_keys), settings.allow_loopback_webhooks
    endpoints = ManageEndpoints(clock, randbits, seals, standing, loopback, commands, replays)
    return endpoints, ManageReplays(clock, randbits, endpoints, replays, commands)


def _originals(settings: IngestSettings, clock: Clock) -> LoggedOriginals:
    return LoggedOriginals(settings.kafka, clock, client_id=f"ingest-{settings.instance}-originals")


def _add_alerts(app: FastAPI, gate: Gate, clock: Clock, far: Far) -> None:
    rules = TableVersions(far.tables.table(TOPICS["alert-rules"], AlertRule), clock)
    states = far.tables.table(TOPICS["alert-states"], AlertState)
    kept = kept_alerts(clock, rules, LogAccountEvents(far.log))
    app.include_router(alerts_router(gate, ManageAlerts(kept, states)))


def _add_delivery(
    app: FastAPI, gate: Gate, settings: IngestSettings, clock: Clock, far: Far, projects: Table[Project]
) -> None:
    """Where mail goes and how fast."""
    events = LogAccountEvents(far.log)
    routes = TableVersions(far.tables.table(TOPICS["routes"], Route), clock)
    upstreams = TableVersions(far.tables.table(TOPICS["upstreams"], Upstream), clock)
    policies = TableVersions(far.tables.table(TOPICS["policies"], Policy), clock)
    control_table: Table[Payload] = far.tables.table(TOPICS["queue-controls"], QueuePause, QueueFlush)
    controls = TableQueueControls(control_table, clock)
    seals = seals_of(settings.sealing_keys)
    upstreams_kept = kept_upstreams(clock, upstreams, events)
    routing = RoutingTables(routes, upstreams, policies, controls, far.observed, partial(_schedule_of, projects))
    forecasts = ForecastRoutes(clock, routing, settings.default_path, settings.pool)
    app.include_router(routes_router(gate, ManageRoutes(kept_routes(clock, routes, events), upstreams), forecasts))
    app.include_router(
        upstreams_router(gate, ManageUpstreams(upstreams_kept, routes, seals, settings.allow_private_upstreams))
    )
    app.include_router(policies_router(gate, ManagePolicies(kept_policies(clock, policies, events))))
    app.include_router(queues_router(gate, ManageQueues(clock, controls, far.observed, events)))
    app.include_router(pools_router(gate, ShowPools(clock, far.observed)))


def _streams(settings: IngestSettings, clock: Clock, admission: Admission, crash: Crash) -> Streams:
    per_project = max(1, settings.streams_per_project // settings.replicas)
    return Streams(admission, clock, crash, per_project=per_project, in_all=settings.streams)


def _schedule_of(projects: Table[Project], project_id: str) -> Sequence[int] | None:
    known = projects.get(project_id)
    return None if known is None else known.retry_schedule_ms


def _message_ids(settings: IngestSettings) -> MessageIds:
    secrets = _secrets(settings)
    return MessageIds(secrets, max(secrets))


def _shared_limits(settings: IngestSettings, clock: Clock) -> ValkeyRateLimits | None:
    if settings.valkey_url is None:
        return None
    within = settings.valkey_within.total_seconds()
    return ValkeyRateLimits(settings.valkey_url.get_secret_value(), clock, within=within)


def _links(settings: IngestSettings) -> UnsubscribeLinks:
    public_url = settings.public_url or f"http://127.0.0.1:{settings.port}"
    return UnsubscribeLinks(public_url.rstrip("/"), _secrets(settings))


def _secrets(settings: IngestSettings) -> dict[int, bytes]:
    return {version: secret.get_secret_value() for version, secret in settings.message_id_secrets.items()}
