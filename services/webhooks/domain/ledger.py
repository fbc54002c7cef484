"""What of one partition is still to be delivered, as its records say in log order.

The log may say a thing again: the fan-out reads an event twice after a crash, an append that was given up lands late.
So a record counts only where it is news: never an attempt that is over, never a delivery that was closed a while ago.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from services.webhooks.domain.delivery import Delivery

# Closed deliveries that are remembered per partition, the latest first to be kept: what the fan-out may say again is a
# batch, which is a fraction of it. About 4 MB when full.
CLOSED_REMEMBERED = 20_000


class Ledger:
    """Pending deliveries by id. Whatever the log says of one that is not news is to be overruled: `overruled`."""

    def __init__(self, remember: int = CLOSED_REMEMBERED) -> None:
        self._remember = remember
        self.pending: dict[str, Delivery] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._stale: dict[str, None] = {}  # in order

    def opened(self, delivery: Delivery) -> bool:
        """Fold a record with a delivery; whether it is news."""
        known = self.pending.get(delivery.id)
        if delivery.id in self._closed or (known is not None and delivery.attempt < known.attempt):
            self._stale[delivery.id] = None
            return False
        self._stale.pop(delivery.id, None)
        if known is not None and delivery.attempt == known.attempt:
            return False
        self.pending[delivery.id] = delivery
        return True

    def closed(self, delivery_id: str) -> None:
        """Fold a tombstone."""
        self._stale.pop(delivery_id, None)
        self.settled(delivery_id, None)

    def settled(self, delivery_id: str, following: Delivery | None) -> bool:
        """An own record of this delivery is in the log, though the tail has yet to bring it; whether it is news.

        It is none where the partition was another's while the attempt ran, and that one went further.
        """
        if following is not None:
            return self.opened(following)
        self.pending.pop(delivery_id, None)
        self._closed[delivery_id] = None
        self._closed.move_to_end(delivery_id)
        if len(self._closed) > self._remember:
            self._closed.popitem(last=False)
        return True

    def overruled(self, limit: int) -> Sequence[tuple[str, Delivery | None]]:
        """Deliveries whose last record in the log is not what counts, and what counts (None: closed).

        Compaction would keep the wrong one, so it is to be written again.
        """
        return [(delivery_id, self.pending.get(delivery_id)) for delivery_id in islice(self._stale, limit)]
