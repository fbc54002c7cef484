"""What webhooks needs of the world: the endpoints, their secrets, HTTP, and a place in the log for results."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from schemas.envelope import Envelope
from schemas.tables import WebhookEndpoint
from schemas.webhooks import WebhookAttempt
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.outcome import Reply

RandomBits = Callable[[int], int]


class Endpoints(Protocol):
    """The endpoint table."""

    def get(self, endpoint_id: str) -> WebhookEndpoint | None: ...

    def of_project(self, project_id: str) -> Iterable[WebhookEndpoint]: ...

    async def caught_up(self, *, within: float) -> bool:
        """Wait until every change acked before this call is known; False where that took longer than `within` s."""
        ...


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
