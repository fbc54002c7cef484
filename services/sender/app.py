"""Puts the sender together: the only file that knows both handlers and adapters."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from chassis.blobs import Blobs, open_storage
from chassis.budget import ByteBudget
from chassis.clock import SystemClock
from chassis.failures import LOG_BACK_OFF, DeadLetters, Done, attempt
from chassis.http import HttpServer, create_app
from chassis.ids import new_id
from chassis.log import Incoming, Log
from chassis.offset_tracker import TrackedConsumer
from chassis.presence import TopicsPresence, used_by
from chassis.return_path import ReturnPaths
from chassis.service import Crash, Part
from chassis.table import Tables
from chassis.tail import Tail
from schemas.mail import Lane
from schemas.tables import Suppression
from schemas.topics import TOPICS, deliveries
from services.sender.adapters.blobs import StoredMails
from services.sender.adapters.dane import DaneRecords
from services.sender.adapters.destinations import DestinationReports
from services.sender.adapters.direct import DirectWays
from services.sender.adapters.health import HealthReports
from services.sender.adapters.inputs import APPEND_WITHIN, LoggedInputs
from services.sender.adapters.journal import AttemptJournal
from services.sender.adapters.mta_sts import StsPolicies
from services.sender.adapters.policies import PacePolicies
from services.sender.adapters.resolver import CachedResolver
from services.sender.adapters.rooms import Sizes
from services.sender.adapters.sandbox import LoggedSandbox
from services.sender.adapters.signing import SendingDomains
from services.sender.adapters.slots import PacedSlots
from services.sender.adapters.smtp import Limits, SmtpCarrier
from services.sender.adapters.smtp_setup import SetUp
from services.sender.adapters.suppressions import SuppressionIndex
from services.sender.adapters.upstreams import UpstreamWays
from services.sender.adapters.ways import PathWays
from services.sender.domain.mx import Guard
from services.sender.domain.shaping import Shape
from services.sender.handlers import Attempts, Timing
from services.sender.intake import Intake
from services.sender.ports import PathLimits, Server, Way
from services.sender.settings import SenderSettings, seals_of

LANES: tuple[Lane, ...] = ("express", "standard")
_TABLES_LATE = 2.0  # seconds: nothing starts while the suppression list is older than the lease
_STORAGE_WITHIN = 30.0  # seconds for 50 MB; what takes longer is away
_COMMIT_AND_LEAVE = 4.0  # seconds of the drain time that are kept for the consumer's last commit, and for closing


class Sender:
    """The running service (`chassis.service.Service`)."""

    def __init__(self, settings: SenderSettings) -> None:
        self.crash = Crash()
        clock = SystemClock()
        kafka, group, client_id = settings.kafka, f"sender.{settings.pool}", f"sender-{settings.instance}"
        self._log = log = Log(kafka, client_id=client_id)
        self._tail = tail = Tail(kafka, client_id=client_id, crash=self.crash)
        self._tables = tables = Tables(kafka, log, clock, client_id=client_id, crash=self.crash)
        self._topics = {topic.name: topic for topic in (deliveries(settings.pool, lane) for lane in LANES)}
        self._dead_letters = DeadLetters(log, group=group)
        self._consumer = TrackedConsumer(
            kafka,
            log,
            clock,
            self._dead_letters,
            group=group,
            topics=list(self._topics.values()),
            restore=lambda topic, partition, first: self._intake.restore(topic, partition, first),  # noqa: PLW0108 - made below
            begin=lambda work: self._intake.begin(work),  # noqa: PLW0108 - made below
            revoked=lambda places: self._intake.revoked(places),  # noqa: PLW0108 - made below
            max_in_flight=settings.max_in_flight,
            crash=self.crash,
        )
        journal = AttemptJournal(log, tail, clock)
        domains = SendingDomains(log, tail, clock, seals_of(settings.sealing_keys))
        resolver, guard = CachedResolver(settings.dns_servers, clock), guard_of(settings)
        upstreams = UpstreamWays(
            log, tail, clock, seals_of(settings.sealing_keys), pool=settings.pool, resolver=resolver, guard=guard
        )
        policies = StsPolicies(resolver, guard, clock, settings.state_dir / "mta-sts.json")
        destinations = DestinationReports(log, clock)
        direct = DirectWays(
            resolver,
            DaneRecords(resolver, port=settings.mx_port, vouches=settings.dns_validates),
            policies,
            destinations,
            guard,
            clock,
            port=settings.mx_port,
            sources=settings.source_addresses,
        )
        ways = PathWays(smarthost_of(settings), upstreams, direct, pool=settings.pool)
        pace = PacePolicies(log, tail, clock)
        slots = PacedSlots(sizes_of(settings), pace, log.broker_now_ms)
        pace.on_change(slots.reshape)
        carrier = carrier_of(settings, slots.shape)
        health = HealthReports(slots, ways.paths, log, clock, pool=settings.pool, instance=settings.instance)
        attempts = Attempts(
            owner=new_id(f"snd_{settings.instance}", clock.now_ms()),
            timing=timing_of(settings),
            clock=clock,
            broker_clock=log,
            journal=journal,
            inputs=LoggedInputs(log),
            suppressed=SuppressionIndex(tables, tables.table(TOPICS["suppressions"], Suppression)),
            mails=StoredMails(
                Blobs(open_storage(settings.blob_url), within=_STORAGE_WITHIN),
                ByteBudget(settings.content_memory),
                log,
                domains,
                return_paths_of(settings),
            ),
            ways=ways,
            slots=slots,
            carrier=carrier,
            sandbox=LoggedSandbox(log),
            rights=self._consumer,
        )
        drain_within = max(0.0, settings.drain_timeout.total_seconds() - _COMMIT_AND_LEAVE)
        self._intake = Intake(attempts, self._consumer, journal, self._bury, log, self.crash, drain_within=drain_within)
        self._presence = TopicsPresence(settings.kafka, clock, used_by("sender"))
        http = HttpServer(create_app("Sendarix sender", self.missing), settings.host, settings.port, self.crash)
        # Stopped in reverse: the intake lets begun attempts end while all that they need still runs.
        self.parts: Sequence[Part] = (
            http,
            self._presence,
            log,
            tail,
            tables,
            domains,
            upstreams,
            policies,
            destinations,
            pace,
            health,
            carrier,
            self._consumer,
            self._intake,
        )

    def missing(self) -> list[str]:
        """What must be there before this process may be called ready."""
        missing = [] if self._log.reachable else ["kafka: not reachable"]
        if not self._tables.fresh_within(_TABLES_LATE):
            missing.append("suppressions: not up to date")
        return missing + self._presence.missing() + self._consumer.ready()

    async def _bury(self, record: Incoming, reason: str) -> None:
        while True:
            work = self._dead_letters.bury(self._topics[record.topic], record, reason, within=APPEND_WITHIN)
            if isinstance(await attempt(work), Done):
                return
            await asyncio.sleep(LOG_BACK_OFF)


def timing_of(settings: SenderSettings) -> Timing:
    return Timing(
        deadline_ms=_ms(settings.attempt_deadline),
        margin_ms=_ms(settings.deadline_margin),
        start_within=settings.start_within.total_seconds(),
    )


def sizes_of(settings: SenderSettings) -> Sizes:
    return Sizes(
        slots=settings.slots,
        in_hand=settings.max_in_flight,
        replicas=settings.replicas,
        upstream=PathLimits(settings.connections, settings.messages_per_connection),
        idle=settings.connection_idle.total_seconds(),
    )


def return_paths_of(settings: SenderSettings) -> ReturnPaths | None:
    secrets = settings.return_path_secrets
    if secrets is None:
        return None
    return ReturnPaths({version: secret.get_secret_value() for version, secret in secrets.items()})


def guard_of(settings: SenderSettings) -> Guard:
    return Guard(settings.mx_allowed_networks, frozenset({settings.helo_name.lower(), *settings.source_addresses}))


def smarthost_of(settings: SenderSettings) -> Server | None:
    if settings.upstream is None:
        return None
    password = settings.upstream_password
    return Server(
        *_host_and_port(settings.upstream),
        tls=settings.upstream_tls,
        username=settings.upstream_username,
        password=None if password is None else password.get_secret_value(),
    )


def carrier_of(settings: SenderSettings, shape_of: Callable[[Way], Shape]) -> SmtpCarrier:
    limits = Limits(
        reply_timeout=settings.reply_timeout.total_seconds(),
        messages_per_connection=settings.messages_per_connection,
        idle=settings.connection_idle.total_seconds(),
    )
    return SmtpCarrier(SetUp(settings.helo_name), limits, shape_of)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _ms(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


async def build(settings: SenderSettings) -> Sender:
    return Sender(settings)
