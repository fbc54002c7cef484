"""The one error policy of consumers: a handler succeeds, says `Retry`, says `Poison`, or stops the service.

The only module with `except Exception`. Handlers run inside `attempt`, loops inside `contained` or `supervised`: so a
failure that nobody named reaches `chassis.service.Crash`, or, where a consumer was given none, ends the process at once.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import Counter

from chassis.log import Incoming, Log, LogUnavailable, Outgoing
from chassis.telemetry import logger
from schemas.envelope import to_timestamp
from schemas.topics import Topic, dlq_name

_log = logger("failures")

LOG_BACK_OFF = 0.5  # seconds between two tries of what the log did not confirm
_RATIO_WINDOW = 1000  # records the dead letters' ratio is taken over
_ERROR_CHARACTERS = 512  # of `dlq-error`: a cause, never a payload

RETRIES = Counter("consumer_retries", "Batches that a dependency's absence sent round again.", ["group", "topic"])
DEAD_LETTERS = Counter("consumer_dead_letters", "Records that could never be handled.", ["group", "topic"])

T = TypeVar("T")


class Retry(Exception):
    """A dependency is away: the batch comes again after `after` seconds; only its partition waits."""

    def __init__(self, after: float, reason: str) -> None:
        super().__init__(reason)
        self.after = after
        self.reason = reason


class Poison(Exception):
    """This one record can never be handled: dead-letter it and go on."""

    def __init__(self, record: Incoming, reason: str) -> None:
        super().__init__(reason)
        self.record = record
        self.reason = reason


class TooManyDeadLetters(Exception):
    """A bad deploy rather than bad records: the service stops instead of draining a topic into its DLQ."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A handler's result."""

    value: T


async def attempt(work: Awaitable[T]) -> Done[T] | Retry | Poison:
    """Run a handler and name what became of it; `LogUnavailable` counts as `Retry`, anything else goes up."""
    try:
        return Done(await work)
    except (Retry, Poison) as verdict:
        return verdict
    except LogUnavailable as error:
        return Retry(LOG_BACK_OFF, str(error))


class Reporter(Protocol):
    """Takes a failure that must stop the service: a `Crash`, or who passes it on to one."""

    def report(self, error: BaseException) -> None: ...


def stop_service(error: BaseException, crash: Reporter | None) -> None:
    """Say it, and end the service: by `crash`, which drains it, or at once where there is none."""
    _log.critical("consumer_failed", exc_info=error)
    if crash is not None:
        crash.report(error)
    else:  # from a callback of the loop's own: raised in here, FastStream would swallow it
        asyncio.get_running_loop().call_soon(sys.exit, 1)


async def contained(work: Awaitable[None], crash: Reporter | None) -> None:
    """Run a consumer's loop or callback; what it raises stops the service loudly and never reaches the caller."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - this is the place that may
        stop_service(error, crash)


def supervised(work: Coroutine[Any, Any, None], crash: Reporter | None) -> asyncio.Task[None]:
    """`contained`, as a task: whoever holds it may cancel it."""
    return asyncio.create_task(contained(work, crash))


class DeadLetters:
    """Writes to `dlq.<group>.<topic>`: original key, value and headers, plus `dlq-*` headers that say why.

    `dlq-topic dlq-partition dlq-offset dlq-timestamp dlq-group dlq-error-type dlq-error dlq-at`. Acked before it returns.
    """

    def __init__(self, log: Log, *, group: str, run_limit: int = 50, ratio_limit: float = 0.05) -> None:
        self._log = log
        self._group = group
        self._run_limit = run_limit
        self._window_limit = ratio_limit * _RATIO_WINDOW
        self._run = 0
        self._window: deque[bool] = deque(maxlen=_RATIO_WINDOW)  # True is a dead letter

    @property
    def group(self) -> str:
        return self._group

    async def bury(
        self, topic: Topic, record: Incoming, reason: str, *, within: float, error_type: str = "Poison"
    ) -> str:
        """Append the dead letter; returns its reference, `dlq-topic/partition/offset`. Raises LogUnavailable, or
        TooManyDeadLetters past the limits (ratio over the last 1,000 records, or a run).
        """
        if self._run >= self._run_limit or sum(self._window) >= self._window_limit:
            raise TooManyDeadLetters(
                f"{self._group}: {self._run} dead letters in a row, {sum(self._window)} in the last {_RATIO_WINDOW}"
            )
        (ack,) = await self._log.append([self._dead_letter(topic, record, reason, error_type)], within=within)
        self._run += 1
        self._window.append(True)
        DEAD_LETTERS.labels(self._group, topic.name).inc()
        reference = f"{ack.topic}/{ack.partition}/{ack.offset}"
        _log.error(
            "record_dead_lettered",
            topic=topic.name,
            partition=record.partition,
            offset=record.offset,
            reason=reason[:_ERROR_CHARACTERS],
            dead_letter=reference,
        )
        return reference

    def handled(self, count: int) -> None:
        """That many records went well: they end a run and lower the ratio."""
        if count > 0:
            self._run = 0
            self._window.extend([False] * min(count, _RATIO_WINDOW))

    def _dead_letter(self, topic: Topic, record: Incoming, reason: str, error_type: str) -> Outgoing:
        why = {
            "dlq-topic": topic.name,
            "dlq-partition": str(record.partition),
            "dlq-offset": str(record.offset),
            "dlq-timestamp": str(record.timestamp_ms),
            "dlq-group": self._group,
            "dlq-error-type": error_type,
            "dlq-error": reason[:_ERROR_CHARACTERS],
            "dlq-at": to_timestamp(self._log.broker_now_ms()),
        }
        headers = tuple((name, text.encode(errors="replace")) for name, text in why.items())
        return Outgoing(
            topic=dlq_name(self._group, topic), key=record.key, value=record.value, headers=record.headers + headers
        )
