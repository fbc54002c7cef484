"""Puts the router together: the only file that knows both the domain's side and the adapters."""

from collections.abc import Sequence

from chassis.clock import SystemClock
from chassis.failures import DeadLetters
from chassis.http import HttpServer, create_app
from chassis.log import Log
from chassis.partition_owner import OwnedPartition, PartitionOwner
from chassis.presence import TopicsPresence, used_by
from chassis.service import Crash, Part
from chassis.table import Tables
from chassis.tail import Tail
from schemas.mail import Lane
from schemas.tables import Project, Suppression
from schemas.topics import PARTITIONS, TOPICS, Topic, message_inputs, message_state
from services.router.adapters.ladders import ProjectLadders
from services.router.adapters.routing_index import RoutingIndex
from services.router.adapters.routing_tables import RoutingTables
from services.router.adapters.store import open_store
from services.router.adapters.submissions import LoggedSubmissions
from services.router.adapters.suppressions import SuppressionIndex
from services.router.batch import Place
from services.router.domain.ladder import Ladder
from services.router.handlers import RouterPartition
from services.router.settings import RouterSettings

LANES: tuple[Lane, ...] = ("express", "standard")


class Router:
    """The running service (`chassis.service.Service`)."""

    def __init__(self, settings: RouterSettings) -> None:
        self.crash = Crash()
        self._settings = settings
        self._clock = SystemClock()
        client_id = f"router-{settings.instance}"
        self._log = Log(settings.kafka, client_id=client_id)
        self._tail = Tail(settings.kafka, client_id=client_id, crash=self.crash)
        self._tables = Tables(settings.kafka, self._log, self._clock, client_id=client_id, crash=self.crash)
        suppressions = self._tables.table(TOPICS["suppressions"], Suppression)
        self._suppressions = SuppressionIndex(self._tables, suppressions)
        self._ladders = ProjectLadders(self._tables.table(TOPICS["projects"], Project))
        self._routing = RoutingIndex(settings.default_path, settings.pool, self._clock)
        routing = RoutingTables(self._log, self._tail, self._clock, self._routing)
        self._lanes = {message_inputs(lane): lane for lane in LANES}
        self.owner = PartitionOwner(
            settings.kafka,
            self._log,
            self._tail,
            self._clock,
            DeadLetters(self._log, group="router"),
            group="router",
            changelogs={message_inputs(lane): message_state(lane) for lane in LANES},
            factory=self._partition,
            owner_id=client_id,
            crash=self.crash,
        )
        self._presence = TopicsPresence(settings.kafka, self._clock, used_by("router"))
        http = HttpServer(create_app("Sendarix router", self.missing), settings.host, settings.port, self.crash)
        self.parts: Sequence[Part] = (http, self._presence, self._log, self._tail, self._tables, routing, self.owner)

    def missing(self) -> list[str]:
        """What must be there before this process may be called ready."""
        missing = [] if self._log.reachable else ["kafka: not reachable"]
        return missing + self._presence.missing() + self.owner.ready()

    def _partition(self, topic: Topic, partition: int) -> OwnedPartition:
        settings, lane = self._settings, self._lanes[topic]
        place = Place(
            lane=lane,
            partition=partition,
            pool=settings.pool,
            ladder=Ladder.of(settings.retry_schedule),
            watchdog_after=settings.watchdog_after,
        )
        path = settings.state_dir / f"{lane}-{partition}.sqlite"
        return RouterPartition(
            place,
            open_store(path, self._log.broker_now_ms()),
            self._suppressions,
            self._ladders,
            self._routing,
            LoggedSubmissions(self._tail, topic),
            clock=self._clock,
            now_ms=self._log.broker_now_ms,
            window=settings.partition_window(PARTITIONS),
            feedback_window_ms=round(settings.feedback_window.total_seconds() * 1000),
        )


async def build(settings: RouterSettings) -> Router:
    return Router(settings)
