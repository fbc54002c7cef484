"""What webhooks needs of the world: the endpoints, their secrets, HTTP, and a place in the log for results."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from chassis.log import Incoming, Outgoing
from schemas.envelope import Envelope, Payload
from schemas.tables import EndpointExhaustion, EndpointHealth, WebhookEndpoint
from schemas.topics import Topic
from schemas.webhooks import WebhookAttempt
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.outcome import Reply
from services.webhooks.domain.replay import Replay

RandomBits = Callable[[int], int]


class Endpoints(Protocol):
    """The endpoint table, each as it stands: disabled by its owner, or for its health."""

    async def find(self, endpoint_id: str) -> WebhookEndpoint | None:
        """None for one that is deleted. Raises Retry while it may only be newer than what is known."""
        ...

    def of_project(self, project_id: str) -> Iterable[WebhookEndpoint]: ...

    async def caught_up(self, *, within: float) -> bool:
        """Wait until every change acked before this call is known; False where that took longer than `within` s."""
        ...


class Health(Protocol):
    """Which endpoints keep failing, or were disabled for what they answered, and what their owners were told."""

    def of(self, endpoint_id: str) -> EndpointHealth | None: ...

    async def change(
        self, endpoint: WebhookEndpoint, health: EndpointHealth | None, events: Sequence[Envelope[Payload]]
    ) -> None:
        """First the account events, acked, then the health, None where it is well. Raises LogUnavailable."""
        ...

    def exhausted(self, endpoint_id: str) -> EndpointExhaustion | None:
        """When its owner was last told that a delivery is exhausted."""
        ...

    async def tell_exhausted(self, endpoint: WebhookEndpoint, event: Envelope[Payload]) -> None:
        """First the event, acked, then that its owner was told. Raises LogUnavailable."""
        ...


class History(Protocol):
    """What the log holds of earlier times."""

    async def between(self, topic: Topic, since_ms: int, until_ms: int) -> Mapping[int, tuple[int, int]]:
        """The offsets of each partition's records between two broker times, the end exclusive. Raises Retry."""
        ...

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Sequence[Incoming], int]:
        """At most `limit` records from `offset` on, and the offset after them. Raises Retry."""
        ...


class Keeper(Protocol):
    """The owned partition that a replay stands in."""

    def replay(self, replay_id: str) -> Replay | None:
        """As it stands; None once it is closed, or the partition is another's."""
        ...

    def waiting(self, replay_id: str) -> int:
        """How many of its deliveries are pending."""
        ...

    def settled(self, entry_id: str, following: Replay | None) -> None:
        """What became of it is in the log."""
        ...


class Replaying(Protocol):
    """Who carries replays out."""

    def begin(self, replay: Replay, keeper: Keeper) -> None: ...

    def end(self, replay_id: str) -> None: ...


class Seals(Protocol):
    def open(self, sealed: str) -> str:
        """Raises chassis.sealing.WrongSealingKey."""
        ...


class Poster(Protocol):
    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One request: exactly these bytes, no redirect followed, nothing that is not public connected to."""
        ...


class Results(Protocol):
    """Writes what became of deliveries, in the name of the partitions that this process owns."""

    async def may_start(self, partition: int) -> bool:
        """Wait for the right to act for the partition; False where this process has lost it."""
        ...

    async def settle(
        self, delivery: Delivery, attempt: Envelope[WebhookAttempt] | None, following: Delivery | None
    ) -> bool:
        """First the attempt, acked, then the delivery's next state, None closing it; whether both are in the log."""
        ...

    async def append(self, partition: int, records: Sequence[Outgoing]) -> None:
        """Others of its records, in this order. Raises LogUnavailable, also where the lease is over."""
        ...
