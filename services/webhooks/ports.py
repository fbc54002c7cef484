"""What the handlers need of the outside, by capability."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from chassis.log import Outgoing
from schemas.tables import WebhookEndpoint
from services.webhooks.domain.verdict import Answer


class SecretUnreadable(Exception):
    """No configured sealing key opens the endpoint's secret: nothing can be signed for it."""


class Endpoints(Protocol):
    """The table of endpoints."""

    def of_project(self, project_id: str) -> Sequence[WebhookEndpoint]: ...

    def get(self, endpoint_id: str) -> WebhookEndpoint | None: ...

    async def fresh(self) -> bool:
        """Whether every endpoint that a client was told of by now is known here; waits a little for it."""
        ...

    def secrets(self, endpoint: WebhookEndpoint) -> Sequence[str]:
        """Signing secrets in the clear, newest first. Raises SecretUnreadable."""
        ...


class CallEndpoint(Protocol):
    """One POST, within a total time; never raises for what the receiver does."""

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer: ...


class Deliveries(Protocol):
    """The partitions of webhook-deliveries that this process owns."""

    def owned(self, partition: int) -> bool:
        """Whether this process may write for the partition now."""
        ...

    async def append(self, partition: int, records: Sequence[Outgoing]) -> bool:
        """Append in the owner's name; False where it is the owner no more. Raises LogUnavailable."""
        ...
