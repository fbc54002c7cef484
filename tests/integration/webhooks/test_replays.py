"""Replays, and what becomes of endpoints that say no, on a real Kafka (R31; D95, D97)."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiokafka.partitioner import murmur2

from chassis.clock import SystemClock
from chassis.ids import derived_id
from chassis.log import Log
from schemas.envelope import Envelope, encode, to_timestamp
from schemas.events import MessageEvent
from tests.integration.webhooks.stage import DELIVERIES, Stage, closed, process, running
from tests.kit.broker import Broker
from tests.kit.topics import kafka_settings
from tests.kit.waiting import eventually
from tests.kit.webhook_receiver import Answer, Calls, WebhookReceiver

MANY = 900
MOST_TRIED = 4  # deliveries of one process that fail twice before its breaker opens, at the tenth request


@pytest.fixture(scope="module")
async def log(own_broker: Broker) -> AsyncIterator[Log]:
    made = Log(kafka_settings(own_broker.bootstrap_servers), client_id="test")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def stage(own_broker: Broker, log: Log) -> Stage:
    return Stage(own_broker, log)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as entered:
        yield entered


async def test_an_event_is_replayed_under_its_id_and_not_stopped_as_a_repeat(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    """Also one of the account, and to an endpoint that is newer than both and would not have asked for them."""
    endpoint, secret = await stage.endpoint(receiver.url("/a"))
    async with running(stage.broker):
        event, other = await stage.events(2)
        account_event = await stage.suppressed()
        await receiver.requests("/a", 3)
        deaf, _ = await stage.endpoint(receiver.url("/deaf"), events=["message.bounced"], tags=["none"])
        replays = [await stage.ask_replay(endpoint, event_id=event.id) for _ in range(2)]
        await stage.ask_replay(deaf, event_id=event.id)
        await stage.ask_replay(deaf, event_id=account_event)
        calls = await receiver.requests("/a", 5)
        at_deaf = await receiver.requests("/deaf", 2)
        ids = [derived_id("whd", event.id, endpoint.id, replay) for replay in replays]
        await eventually(lambda: closed(stage, *ids, *replays))
    assert {request.webhook_id for request in at_deaf} == {event.id, account_event}
    assert Counter(call.webhook_id for call in calls) == {event.id: 3, other.id: 1, account_event: 1}
    assert len({call.body for call in calls if call.webhook_id == event.id}) == 1
    assert all(call.verified(secret) for call in calls)
    attempts = [made for made in await stage.attempts(endpoint) if made.event_id == event.id]
    assert [(made.cause, made.outcome) for made in attempts] == [("event", "succeeded"), *[("replay", "succeeded")] * 2]
    assert {made.replay_id for made in attempts} == {None, *replays}


async def test_of_a_window_only_what_failed_or_only_some_types(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, _ = await stage.endpoint(receiver.url("/a"))
    receiver.script("/a", *[Answer(500)] * 6)  # both attempts of each of the first three
    async with running(stage.broker):
        failing = await stage.events(3)
        await eventually(lambda: closed(stage, *(derived_id("whd", event.id, endpoint.id) for event in failing)))
        walk = stage.walk()
        await stage.write(walk)
        await receiver.requests("/a", 9)
        await eventually(lambda: closed(stage, *(derived_id("whd", event.id, endpoint.id) for event in walk)))
        await done(stage, replay := await stage.ask_replay(endpoint, failed=True))
        assert ids_after(receiver, 9) == sorted(event.id for event in failing)
        stands = (await stage.replays())[replay]
        assert (stands.status, stands.matched, stands.queued) == ("done", len(failing) + len(walk), len(failing))
        await done(stage, await stage.ask_replay(endpoint, types=["message.delivered"]))
        assert ids_after(receiver, 12) == [walk[-1].id]
        await done(stage, await stage.ask_replay(endpoint, failed=True))
        assert ids_after(receiver, 13) == []


async def test_a_replay_outlives_kill_9_in_its_middle_and_live_events_go_before_the_rest_of_it(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    """D97: what was sent but not recorded comes again, under the same id. Who asked for it reads that it is done."""
    events = await stage.events(MANY)
    await asyncio.sleep(0.6)  # beyond the tolerance for clocks that differ: none of them is the endpoint's own
    endpoint, secret = await stage.endpoint(receiver.url("/a"))
    async with process(stage.broker) as doomed:
        receiver.script("/a", *[Answer()] * (MANY // 3), Calls(lambda: os.kill(doomed.pid, signal.SIGKILL)))
        replay = await stage.ask_replay(endpoint)
        assert await asyncio.to_thread(doomed.wait) == -signal.SIGKILL
    assert (await stage.replays())[replay].status == "running"
    assert MANY // 3 < len(receiver.received) < MANY
    async with process(stage.broker):
        (live,) = await stage.events()
        await receiver.requests("/a", MANY + 1, within=60)
        await eventually(lambda: closed(stage, replay))
        stands = (await stage.replays())[replay]
        assert (stands.status, stands.matched, stands.queued) == ("done", MANY, MANY)
        assert stands.finished_at is not None

        async def all_arrived() -> bool:
            return {call.webhook_id for call in receiver.received} == {event.id for event in (*events, live)}

        await eventually(all_arrived)
    order = [call.webhook_id for call in receiver.received]
    assert order.index(live.id) < len(order) - 1
    assert len(order) <= MANY * 1.5, "it began anew instead of going on"
    assert all(call.verified(secret) for call in receiver.received[-50:])


async def test_410_disables_at_once_tells_others_and_the_owner_may_enable_it_again(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    """D95."""
    gone, _ = await stage.endpoint(receiver.url("/gone"))
    _, secret = await stage.endpoint(receiver.url("/watch"), events=["endpoint.*"])
    receiver.script("/gone", Answer(410))
    async with running(stage.broker):
        (first,) = await stage.events()
        (told,) = await receiver.requests("/watch", 1)
        await stage.events(3)
        (event,) = await stage.account_events()
        assert (event.type, event.id, told.webhook_id) == ("endpoint.disabled", told.webhook_id, event.id)
        about = told.verified(secret)["data"]
        assert (about["webhook_id"], about["reason"], about["status_code"]) == (gone.id, "gone", 410)
        await stage.change(gone, enabled_at=to_timestamp(SystemClock().now_ms()))
        (last,) = await stage.events()
        assert [call.webhook_id for call in await receiver.requests("/gone", 2)] == [first.id, last.id]


async def test_of_what_two_processes_see_each_event_has_an_id_that_says_only_that(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    """Both have tried an event for the last time: its owner is told, and by no id of two things."""
    endpoint, _ = await stage.endpoint(receiver.url("/a"))
    receiver.always("/a", Answer(500))
    each_its_partition: dict[int, Envelope[MessageEvent]] = {}
    while len(each_its_partition) <= DELIVERIES.partitions // 2:  # so that not all are with one process
        event = stage.queued()
        each_its_partition[partition_of(derived_id("whd", event.id, endpoint.id))] = event
    async with AsyncExitStack() as both:
        await asyncio.gather(*(both.enter_async_context(process(stage.broker)) for _ in range(2)))
        await stage.write(list(each_its_partition.values()))

        async def by_both() -> bool:
            return sum(made.outcome == "exhausted" for made in await stage.attempts(endpoint)) > MOST_TRIED

        await eventually(by_both)
    told = [event for event in await stage.account_events() if event.type == "delivery.exhausted"]
    assert told
    assert len({event.id for event in told}) == len({encode(event) for event in told})


def partition_of(delivery_id: str) -> int:
    return int(murmur2(delivery_id.encode()) & 0x7FFFFFFF) % DELIVERIES.partitions


async def test_account_events_reach_those_who_ask_for_them(stage: Stage, receiver: WebhookReceiver) -> None:
    _, secret = await stage.endpoint(receiver.url("/list"), events=["suppression.*"], tags=["news"])
    await stage.endpoint(receiver.url("/mail"), events=["message.*"])
    await Stage(stage.broker, stage.log).endpoint(receiver.url("/stranger"))
    async with running(stage.broker):
        event_id = await stage.suppressed()
        await stage.events()
        (call,) = await receiver.requests("/list", 1)
        (mail,) = await receiver.requests("/mail", 1)
    assert (call.webhook_id, call.verified(secret)["type"]) == (event_id, "suppression.added")
    assert mail.event["type"] == "message.queued"
    assert receiver.at("/stranger") == []


async def done(stage: Stage, replay: str) -> None:
    """Once a replay is over, and so are its deliveries."""

    async def over() -> bool:
        records = await stage.all_of(DELIVERIES)
        mine = {key for key, value in records if value is not None and f'"{replay}"'.encode() in value}
        return await closed(stage, replay, *mine)

    await eventually(over)


def ids_after(receiver: WebhookReceiver, before: int) -> list[str]:
    """What was called since there had been `before` requests."""
    return sorted(call.webhook_id for call in receiver.received[before:])
