"""Puts webhooks together: the only file that knows both what it does and the adapters it does it with."""

from collections.abc import Sequence
from secrets import randbits

from chassis.clock import Clock, SystemClock
from chassis.consume import BatchConsumer, Handle
from chassis.failures import DeadLetters
from chassis.http import HttpServer, create_app
from chassis.log import Log
from chassis.member import FETCH_WAIT
from chassis.partition_owner import OwnedPartition, PartitionOwner
from chassis.presence import TopicsPresence, used_by
from chassis.service import Crash, Part
from chassis.table import Tables
from chassis.tail import Tail
from schemas.tables import EndpointExhaustion, EndpointHealth, WebhookEndpoint
from schemas.topics import TOPICS, Topic
from services.webhooks.adapters.endpoints import EndpointTable, HealthTable
from services.webhooks.adapters.history import KafkaHistory
from services.webhooks.adapters.http import HttpPoster
from services.webhooks.adapters.results import OwnedResults
from services.webhooks.attempts import Attempts
from services.webhooks.dispatch import Dispatcher
from services.webhooks.domain.queue import Limits, Queue
from services.webhooks.domain.schedule import Schedule
from services.webhooks.handlers import Commands, FanOut
from services.webhooks.health import HealthKeeper
from services.webhooks.metrics import BREAKERS, OLDEST_PENDING, OPEN_REQUESTS, PENDING
from services.webhooks.replays import Replays
from services.webhooks.settings import WebhooksSettings, seals_of

FAN_OUT_GROUP, DELIVERIES_GROUP, COMMANDS_GROUP = "webhooks", "webhooks.deliveries", "webhooks.commands"
_EVENTS, _ACCOUNT = TOPICS["message-events"], TOPICS["account-events"]
_DELIVERIES, _COMMANDS = TOPICS["webhook-deliveries"], TOPICS["webhook-commands"]
# A batch waits up to 100 ms for the endpoint table's probe: large ones keep 20,000 events a second possible.
_BATCH_RECORDS = 2000
_COMMANDS_WAIT = 0.5  # seconds that a fetch of commands waits at the broker: there are few
_READY_LAG = 2.0  # seconds that the endpoint table may lag behind


class Webhooks:
    """The running service (`chassis.service.Service`)."""

    def __init__(self, settings: WebhooksSettings, clock: Clock) -> None:
        self.crash = Crash()
        self._settings = settings
        self._clock = clock
        self._name = f"webhooks-{settings.instance}"
        self._log = Log(settings.kafka, client_id=self._name)
        tail = Tail(settings.kafka, client_id=self._name, crash=self.crash)
        self._tables = Tables(settings.kafka, self._log, clock, client_id=f"{self._name}-tables", crash=self.crash)
        table = self._tables.table(TOPICS["webhook-endpoints"], WebhookEndpoint)
        health = self._tables.table(TOPICS["endpoint-health"], EndpointHealth)
        exhaustions = self._tables.table(TOPICS["endpoint-exhaustions"], EndpointExhaustion)
        endpoints = EndpointTable(self._tables, table, health, clock)
        poster = HttpPoster(allow_loopback=settings.allow_loopback)
        self._fan_out = self._consumer(FAN_OUT_GROUP, [_EVENTS, _ACCOUNT], FanOut(endpoints).handle)
        self._commands = self._consumer(COMMANDS_GROUP, [_COMMANDS], Commands().handle, fetch_wait=_COMMANDS_WAIT)
        self._owner = self._partition_owner(tail)
        results = OwnedResults(self._owner, clock)
        attempts = Attempts(
            endpoints,
            seals_of(settings.sealing_keys),
            poster,
            results,
            HealthKeeper(HealthTable(health, exhaustions, self._log, clock)),
            clock,
            schedule=Schedule.of(settings.retry_schedule),
            random_bits=randbits,
        )
        history = KafkaHistory(settings.kafka, client_id=f"{self._name}-history")
        replays = Replays(endpoints, history, results, clock, self.crash)
        queue = Queue(_limits(settings), lambda endpoint_id: endpoints.rate_of(endpoint_id) or settings.rate_per_second)
        _measure(queue, clock)
        self._dispatcher = Dispatcher(
            queue, attempts, replays, clock, give_up_after=settings.give_up_after, crash=self.crash
        )
        self._presence = TopicsPresence(settings.kafka, clock, used_by("webhooks"))
        http = HttpServer(create_app("Sendarix webhooks", self.missing), settings.host, settings.port, self.crash)
        # Stopped in reverse: the dispatcher first, so that open requests end while their results can be recorded.
        self.parts: Sequence[Part] = (
            http, self._presence, self._log, tail, self._tables, poster, history, self._owner, replays, self._fan_out,
            self._commands, self._dispatcher,
        )  # fmt: skip

    def missing(self) -> list[str]:
        """What must be there before this process may be called ready."""
        missing = [] if self._log.reachable else ["kafka: not reachable"]
        if not self._tables.fresh_within(_READY_LAG):
            missing.append("webhook endpoints: not caught up")
        return missing + self._presence.missing() + self._owner.ready() + self._fan_out.ready() + self._commands.ready()

    def _consumer(
        self, group: str, topics: Sequence[Topic], handle: Handle, fetch_wait: float = FETCH_WAIT
    ) -> BatchConsumer:
        return BatchConsumer(
            self._settings.kafka,
            self._log,
            self._clock,
            DeadLetters(self._log, group=group),
            group=group,
            topics=topics,
            handle=handle,
            max_records=_BATCH_RECORDS,
            fetch_wait=fetch_wait,
            crash=self.crash,
        )

    def _partition_owner(self, tail: Tail) -> PartitionOwner:
        return PartitionOwner(
            self._settings.kafka,
            self._log,
            tail,
            self._clock,
            DeadLetters(self._log, group=DELIVERIES_GROUP),
            group=DELIVERIES_GROUP,
            changelogs={_DELIVERIES: _DELIVERIES},
            factory=self._partition,
            owner_id=self._name,
            crash=self.crash,
        )

    def _partition(self, topic: Topic, partition: int) -> OwnedPartition:
        del topic  # there is one
        return self._dispatcher.partition(partition)


def _limits(settings: WebhooksSettings) -> Limits:
    return Limits(
        per_endpoint=settings.open_requests_per_endpoint,
        shared=settings.open_requests,
        total=settings.most_open_requests,
    )


def _measure(queue: Queue, clock: Clock) -> None:
    """Gauges that are read when somebody asks."""
    PENDING.set_function(lambda: len(queue))
    OPEN_REQUESTS.set_function(lambda: queue.open)
    OLDEST_PENDING.set_function(lambda: _age(queue.oldest_ms(), clock.now_ms()))
    BREAKERS.labels("closed").set_function(lambda: queue.breakers(clock.now_ms()).get("closed", 0))
    BREAKERS.labels("open").set_function(lambda: queue.breakers(clock.now_ms()).get("open", 0))
    BREAKERS.labels("half_open").set_function(lambda: queue.breakers(clock.now_ms()).get("half_open", 0))


def _age(since_ms: int | None, now_ms: int) -> float:
    return 0.0 if since_ms is None else max(0, now_ms - since_ms) / 1000


async def build(settings: WebhooksSettings) -> Webhooks:
    return Webhooks(settings, SystemClock())
