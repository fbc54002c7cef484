"""What of one partition is still to be done, deliveries and replays, as its records say in log order.

The log may say a thing again: the fan-out reads an event twice after a crash, an append that was given up lands late.
So a record counts only where it is news: never an attempt that is over, never a delivery that was closed a while ago.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import islice

from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.replay import Replay

Entry = Delivery | Replay

# Closed deliveries that are remembered per partition, the latest first to be kept: what the fan-out may say again is a
# batch, which is a fraction of it. About 4 MB when full.
CLOSED_REMEMBERED = 20_000


class Ledger:
    """What is pending, by id. Whatever the log says of one that is not news is to be overruled: `overruled`."""

    def __init__(self, remember: int = CLOSED_REMEMBERED) -> None:
        self._remember = remember
        self.pending: dict[str, Entry] = {}
        self._of_replay: Counter[str] = Counter()
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._stale: dict[str, None] = {}  # in order

    def opened(self, entry: Entry) -> bool:
        """Fold a record; whether it is news."""
        known = self.pending.get(entry.id)
        if entry.id in self._closed or (known is not None and entry.version < known.version):
            self._stale[entry.id] = None
            return False
        self._stale.pop(entry.id, None)
        if known is not None and entry.version == known.version:
            return False
        self._count(known, -1)
        self._count(entry, 1)
        self.pending[entry.id] = entry
        return True

    def closed(self, entry_id: str) -> None:
        """Fold a tombstone."""
        self._stale.pop(entry_id, None)
        self.settled(entry_id, None)

    def settled(self, entry_id: str, following: Entry | None) -> bool:
        """An own record of it is in the log, though the tail has yet to bring it; whether it is news.

        It is none where the partition was another's while the attempt ran, and that one went further.
        """
        if following is not None:
            return self.opened(following)
        self._count(self.pending.pop(entry_id, None), -1)
        self._closed[entry_id] = None
        self._closed.move_to_end(entry_id)
        if len(self._closed) > self._remember:
            self._closed.popitem(last=False)
        return True

    def overruled(self, limit: int) -> Sequence[tuple[str, Entry | None]]:
        """Those whose last record in the log is not what counts, and what counts (None: closed).

        Compaction would keep the wrong one, so it is to be written again.
        """
        return [(entry_id, self.pending.get(entry_id)) for entry_id in islice(self._stale, limit)]

    def waiting(self, replay_id: str) -> int:
        """How many deliveries of a replay are pending."""
        return self._of_replay[replay_id]

    def _count(self, entry: Entry | None, change: int) -> None:
        if isinstance(entry, Delivery) and entry.replay_id is not None:
            self._of_replay[entry.replay_id] += change
            if not self._of_replay[entry.replay_id]:
                del self._of_replay[entry.replay_id]
