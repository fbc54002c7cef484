"""The one error policy of consumers: a handler succeeds, says `Retry`, says `Poison`, or stops the service.

The only module with `except Exception`.
"""

from chassis.log import Incoming, Log
from schemas.topics import Topic


class Retry(Exception):
    """A dependency is away: the batch comes again after `after` seconds; only its partition waits."""

    def __init__(self, after: float, reason: str) -> None:
        super().__init__(reason)
        self.after = after


class Poison(Exception):
    """This one record can never be handled: dead-letter it and go on."""

    def __init__(self, record: Incoming, reason: str) -> None:
        super().__init__(reason)
        self.record = record
        self.reason = reason


class TooManyDeadLetters(Exception):
    """A bad deploy rather than bad records: the service stops instead of draining a topic into its DLQ."""


class DeadLetters:
    """Writes to `dlq.<group>.<topic>`: original key, value and headers, plus `dlq-*` headers that say why.

    `dlq-topic dlq-partition dlq-offset dlq-timestamp dlq-group dlq-error-type dlq-error dlq-at`. Acked before it returns.
    """

    def __init__(self, log: Log, *, group: str, run_limit: int = 50, ratio_limit: float = 0.05) -> None: ...

    async def bury(self, topic: Topic, record: Incoming, reason: str, *, within: float) -> str:
        """Append the dead letter; returns its reference, `dlq-topic/partition/offset`. Raises LogUnavailable, or
        TooManyDeadLetters past the limits (ratio over the last 1,000 records, or a run)."""
        ...

    def handled(self, count: int) -> None:
        """That many records went well: they end a run and lower the ratio."""
