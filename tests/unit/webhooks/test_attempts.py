"""One attempt, from its endpoint to its record (R31, D93, D95, D97)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from chassis.log import LogUnavailable, Outgoing
from chassis.sealing import WrongSealingKey
from schemas.envelope import Envelope, Payload, to_timestamp
from schemas.tables import EndpointExhaustion, EndpointHealth, OldSecret, WebhookEndpoint
from schemas.webhooks import WebhookAttempt
from services.webhooks.attempts import Attempts, PutOff, Settled
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.outcome import Answered, NoAnswer, Reply
from services.webhooks.domain.schedule import Schedule
from services.webhooks.health import HealthKeeper
from tests.unit.webhooks.made import NOW_MS, SECRET, a_delivery, an_endpoint
from tests.unit.webhooks.test_fan_out import Endpoints

GAP_MS = 5000
_THANKS = Answered(200, None, "thanks")


@dataclass(slots=True)
class World:
    """Everything an attempt touches, in memory."""

    reply: Reply = _THANKS
    endpoints: Endpoints = field(default_factory=lambda: Endpoints(an_endpoint()))
    opened: Callable[[str], str] = lambda sealed: sealed
    owned: bool = True
    recorded: bool = True
    reachable: bool = True
    health: EndpointHealth | None = None
    exhaustion: EndpointExhaustion | None = None
    told: list[Envelope[Payload]] = field(default_factory=list)
    posts: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    settled: list[tuple[WebhookAttempt | None, Delivery | None]] = field(default_factory=list)

    @property
    def attempts(self) -> Attempts:
        schedule = Schedule.of([timedelta(milliseconds=GAP_MS)])
        return Attempts(
            self.endpoints, self, self, self, HealthKeeper(self), self,
            schedule=schedule, random_bits=lambda bits: 1 << (bits - 1),
        )  # fmt: skip

    def open(self, sealed: str) -> str:
        return self.opened(sealed)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.posts.append((url, headers, body))
        return self.reply

    async def may_start(self, partition: int) -> bool:
        return self.owned

    async def settle(
        self, delivery: Delivery, attempt: Envelope[WebhookAttempt] | None, following: Delivery | None
    ) -> bool:
        self.settled.append((None if attempt is None else attempt.data, following))
        return self.recorded

    async def append(self, partition: int, records: Sequence[Outgoing]) -> None:
        raise AssertionError("an attempt writes its result, and nothing else")

    def of(self, endpoint_id: str) -> EndpointHealth | None:
        return self.health

    async def change(
        self, endpoint: WebhookEndpoint, health: EndpointHealth | None, events: Sequence[Envelope[Payload]]
    ) -> None:
        await self._publish(*events)
        self.health = health

    def exhausted(self, endpoint_id: str) -> EndpointExhaustion | None:
        return self.exhaustion

    async def tell_exhausted(self, endpoint: WebhookEndpoint, event: Envelope[Payload]) -> None:
        await self._publish(event)
        self.exhaustion = EndpointExhaustion(id=endpoint.id, project_id=endpoint.project_id, told_at=event.time)

    async def _publish(self, *events: Envelope[Payload]) -> None:
        if not self.reachable:
            raise LogUnavailable("no ack")
        self.told += events
        await asyncio.sleep(0)  # others run while it is written

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 1.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("an attempt does not sleep")


async def test_success_is_recorded_and_closes() -> None:
    world = World()
    assert await world.attempts.make(a_delivery()) == Settled(None, failed=False)
    ((attempt, following),) = world.settled
    assert following is None
    assert attempt is not None
    assert (attempt.outcome, attempt.status_code, attempt.response) == ("succeeded", 200, "thanks")
    assert (attempt.attempt, attempt.next_attempt_at, attempt.error) == (1, None, None)


async def test_the_stored_bytes_are_sent_signed_with_the_events_id() -> None:
    world = World()
    await world.attempts.make(a_delivery())
    ((url, headers, body),) = world.posts
    assert url == an_endpoint().url
    assert body == a_delivery().body.encode()
    assert headers["webhook-id"] == a_delivery().event_id
    assert headers["webhook-timestamp"] == str(NOW_MS // 1000)
    moment = datetime.fromtimestamp(NOW_MS // 1000, UTC)
    assert headers["webhook-signature"] == Webhook(SECRET).sign(a_delivery().event_id, moment, body.decode())


async def test_failure_is_recorded_and_comes_again_by_the_schedule() -> None:
    world = World(reply=Answered(500, None, "oops"))
    due = NOW_MS + GAP_MS
    following = a_delivery(attempt=2, due_at_ms=due)
    assert await world.attempts.make(a_delivery()) == Settled(following, failed=True)
    ((attempt, recorded),) = world.settled
    assert recorded == following
    assert attempt is not None
    assert (attempt.outcome, attempt.status_code, attempt.error) == ("failed", 500, "status 500")
    assert attempt.next_attempt_at == "2026-09-21T14:13:25.123Z"


async def test_the_last_failure_is_exhausted_and_closes() -> None:
    world = World(reply=NoAnswer("connect", "refused"))
    assert await world.attempts.make(a_delivery(attempt=2)) == Settled(None, failed=True)
    ((attempt, following),) = world.settled
    assert following is None
    assert attempt is not None
    assert (attempt.outcome, attempt.status_code, attempt.error) == ("exhausted", None, "connect: refused")


async def test_410_ends_the_delivery_and_disables_the_endpoint_at_the_first_attempt() -> None:
    world = World(reply=Answered(410, None, ""))
    assert await world.attempts.make(a_delivery()) == Settled(None, failed=True)
    assert world.health is not None
    assert (world.health.disabled_at, world.health.disabled_reason) == (to_timestamp(NOW_MS), "gone")
    assert [event.type for event in world.told] == ["endpoint.disabled"]


async def test_what_follows_for_the_endpoint_is_in_the_log_before_the_result_or_the_attempt_counts_for_nothing() -> (
    None
):
    world = World(reply=Answered(410, None, ""), reachable=False)
    assert await world.attempts.make(a_delivery()) == PutOff(failed=True)
    assert (world.settled, world.health) == ([], None)


async def test_retry_after_moves_the_next_attempt() -> None:
    world = World(reply=Answered(429, "600", ""))
    result = await world.attempts.make(a_delivery())
    assert isinstance(result, Settled)
    assert result.following is not None
    assert result.following.due_at_ms == NOW_MS + 600_000


async def test_a_deleted_endpoint_gets_nothing_more() -> None:
    world = World(endpoints=Endpoints())
    assert await world.attempts.make(a_delivery()) == Settled(None, failed=None)
    assert world.posts == []
    assert world.settled == [(None, None)]


async def test_an_endpoint_that_may_be_newer_than_the_table_is_not_taken_for_deleted() -> None:
    world = World(endpoints=Endpoints(fresh=False))
    assert await world.attempts.make(a_delivery()) == PutOff()
    assert world.settled == []


def _shut(_: str) -> str:
    raise WrongSealingKey("no configured sealing key opens this secret")


@pytest.mark.parametrize("opened", [_shut, lambda _: "not a secret"])
async def test_a_secret_that_cannot_be_used_uses_no_attempt_and_sends_nothing(opened: Callable[[str], str]) -> None:
    world = World(opened=opened)
    assert await world.attempts.make(a_delivery()) == PutOff(hold=True)
    assert (world.posts, world.settled) == ([], [])


async def test_without_the_right_to_write_nothing_is_sent() -> None:
    world = World(owned=False)
    assert await world.attempts.make(a_delivery()) == PutOff()
    assert world.posts == []


async def test_a_result_that_is_not_in_the_log_uses_no_attempt_but_tells_the_breaker() -> None:
    world = World(reply=Answered(500, None, ""), recorded=False)
    assert await world.attempts.make(a_delivery()) == PutOff(failed=True)


async def test_what_is_too_old_is_closed_without_a_request() -> None:
    world = World()
    assert await world.attempts.give_up(a_delivery(attempt=4), timedelta(days=7)) == Settled(None, failed=None)
    ((attempt, following),) = world.settled
    assert (world.posts, following) == ([], None)
    assert attempt is not None
    assert (attempt.outcome, attempt.attempt) == ("exhausted", 4)
    assert attempt.error == "given up after 168 hours: the endpoint kept failing"


async def test_d96_while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone() -> None:
    old, older = ("whsec_" + letter * 42 + "A=" for letter in "Qg")
    olds = [
        OldSecret(sealed_secret=old, until=to_timestamp(NOW_MS + 1)),
        OldSecret(sealed_secret=older, until=to_timestamp(NOW_MS)),
    ]
    world = World(endpoints=Endpoints(an_endpoint().model_copy(update={"old_secrets": olds})))
    await world.attempts.make(a_delivery())
    ((_, headers, body),) = world.posts
    assert len(headers["webhook-signature"].split()) == 2
    moment = datetime.fromtimestamp(NOW_MS // 1000, UTC)
    signed = [Webhook(secret).sign(a_delivery().event_id, moment, body.decode()) for secret in (SECRET, old)]
    assert headers["webhook-signature"] == " ".join(signed)


async def test_a_disabled_endpoint_gets_nothing_more() -> None:
    disabled = an_endpoint().model_copy(update={"disabled_at": to_timestamp(NOW_MS)})
    world = World(endpoints=Endpoints(disabled))
    assert await world.attempts.make(a_delivery()) == Settled(None, failed=None)
    assert (world.posts, world.settled) == ([], [(None, None)])
