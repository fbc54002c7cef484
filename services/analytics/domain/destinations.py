"""Which provider is behind a domain: what senders found out, as rows (R33)."""

from typing import NamedTuple

from schemas.routing import Destination
from services.analytics.domain.rows import sound


class DestinationRow(NamedTuple):
    """`resolved_at` is Unix ms: of several rows of a destination the latest counts."""

    destination: str
    provider_group: str
    resolved_at: int

    @property
    def time_ms(self) -> int:
        return self.resolved_at


def destination_row(data: Destination) -> DestinationRow:
    """Raises ValueError where it has no place."""
    return DestinationRow(data.destination, data.provider_group, sound(data.resolved_at_ms))
