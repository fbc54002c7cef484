"""One attempt, from the look-up of its endpoint to its place in the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from chassis.clock import Clock
from chassis.failures import Retry
from chassis.sealing import WrongSealingKey
from chassis.telemetry import logger
from schemas.envelope import Envelope, to_ms
from schemas.tables import WebhookEndpoint
from schemas.webhooks import WebhookAttempt
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.outcome import Verdict, judge
from services.webhooks.domain.records import Made, attempt_record
from services.webhooks.domain.schedule import Schedule
from services.webhooks.domain.sign import keys_of, signed_headers
from services.webhooks.health import HealthKeeper
from services.webhooks.metrics import ATTEMPT_SECONDS, ATTEMPTS, CLOSED, UNOPENED, UNRECORDED
from services.webhooks.ports import Endpoints, Poster, RandomBits, Results, Seals

_log = logger("attempts")
_CHANCE_BITS = 32
_SECRETS_REMEMBERED = 10_000  # opened: to open one is a twelfth of what a call costs


@dataclass(frozen=True, slots=True)
class Settled:
    """The result is in the log: `following` is the delivery's next state, None closes it. `failed`: for the breaker."""

    following: Delivery | None
    failed: bool | None


@dataclass(frozen=True, slots=True)
class PutOff:
    """Nothing is in the log, no attempt is used. `hold`: the whole endpoint waits. `failed`: as above."""

    hold: bool = False
    failed: bool | None = None


class Attempts:
    def __init__(
        self,
        endpoints: Endpoints,
        seals: Seals,
        poster: Poster,
        results: Results,
        health: HealthKeeper,
        clock: Clock,
        *,
        schedule: Schedule,
        random_bits: RandomBits,
    ) -> None:
        self._endpoints = endpoints
        self._keys_in = lru_cache(maxsize=_SECRETS_REMEMBERED)(lambda sealed: keys_of(seals.open(sealed)))
        self._poster = poster
        self._results = results
        self._health = health
        self._clock = clock
        self._schedule = schedule
        self._random_bits = random_bits

    async def make(self, delivery: Delivery) -> Settled | PutOff:
        """Send it, and record what came of it."""
        if not await self._results.may_start(delivery.partition):
            return PutOff()
        try:
            endpoint = await self._endpoints.find(delivery.endpoint_id)
        except Retry:
            return PutOff()
        if endpoint is None or (endpoint.disabled_at is not None and delivery.cause != "test"):
            cause = "endpoint_deleted" if endpoint is None else "endpoint_disabled"
            return await self._close(delivery, cause, None)
        keys = self._keys(endpoint)
        if keys is None:
            return PutOff(hold=True)
        made = await self._post(delivery, endpoint.url, keys)
        following = self._following(delivery, made)
        failed = made.verdict.kind != "succeeded"
        if not await self._recorded(delivery, endpoint, made, following):
            UNRECORDED.inc()
            return PutOff(failed=failed)
        return Settled(following, failed)

    async def give_up(self, delivery: Delivery, age: timedelta) -> Settled | PutOff:
        """Close what nobody waits for any more, without a request."""
        hours = age / timedelta(hours=1)
        verdict = Verdict("failed", error=f"given up after {hours:g} hours: the endpoint kept failing")
        record = attempt_record(delivery, Made(self._clock.now_ms(), 0, verdict), None)
        return await self._close(delivery, "too_old", record)

    async def _recorded(
        self, delivery: Delivery, endpoint: WebhookEndpoint, made: Made, following: Delivery | None
    ) -> bool:
        """What the call says of its endpoint first: the delivery's next state would leave nobody to say it again."""
        if not await self._health.told(endpoint, delivery, made, last=following is None):
            return False
        return await self._results.settle(delivery, attempt_record(delivery, made, following), following)

    async def _close(self, delivery: Delivery, cause: str, record: Envelope[WebhookAttempt] | None) -> Settled | PutOff:
        if not await self._results.settle(delivery, record, None):
            return PutOff()
        CLOSED.labels(cause).inc()
        _log.info("delivery_closed", delivery=delivery.id, endpoint=delivery.endpoint_id, cause=cause)
        return Settled(None, failed=None)

    def _keys(self, endpoint: WebhookEndpoint) -> Sequence[bytes] | None:
        """The signing keys, newest first, or None, loudly, where they can't be had."""
        now_ms = self._clock.now_ms()
        valid = [old.sealed_secret for old in endpoint.old_secrets if to_ms(old.until) > now_ms]
        try:
            return [key for sealed in (endpoint.sealed_secret, *valid) for key in self._keys_in(sealed)]
        except WrongSealingKey as error:
            reason = str(error)
        except ValueError as error:
            reason = f"what the seal holds is no secret: {error}"
        UNOPENED.inc()
        _log.critical("endpoint_secret_unusable", endpoint=endpoint.id, project=endpoint.project_id, reason=reason)
        return None

    async def _post(self, delivery: Delivery, url: str, keys: Sequence[bytes]) -> Made:
        at_ms, began = self._clock.now_ms(), self._clock.monotonic()
        body = delivery.body.encode()
        reply = await self._poster.post(url, signed_headers(keys, delivery.event_id, at_ms, body), body)
        took = self._clock.monotonic() - began
        ATTEMPT_SECONDS.observe(took)
        return Made(at_ms, round(took * 1000), judge(reply, self._clock.now_ms()))

    def _following(self, delivery: Delivery, made: Made) -> Delivery | None:
        verdict = made.verdict
        wait_ms = None
        if verdict.kind == "failed" and delivery.cause != "test":  # who asked for it looks at it
            wait_ms = self._schedule.wait_ms(
                delivery.attempt,
                throttled=verdict.throttled,
                retry_after_ms=verdict.retry_after_ms,
                chance=self._random_bits(_CHANCE_BITS) / 2**_CHANCE_BITS,
            )
        ATTEMPTS.labels(_counted(verdict, wait_ms)).inc()
        return None if wait_ms is None else delivery.again(made.at_ms + made.duration_ms + wait_ms)


def _counted(verdict: Verdict, wait_ms: int | None) -> str:
    if verdict.kind == "failed" and wait_ms is None:
        return "exhausted"
    return verdict.kind
