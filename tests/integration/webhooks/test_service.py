"""The whole service on a real Kafka, with a scripted receiver (R31; D95, D97)."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from cryptography.fernet import Fernet
from standardwebhooks import WebhookVerificationError

from chassis.ids import derived_id
from chassis.log import Log, Outgoing
from schemas.topics import Topic
from tests.integration.webhooks.stage import DELIVERIES, EVENTS, Stage, closed, process, running
from tests.kit.broker import Broker
from tests.kit.topics import kafka_settings
from tests.kit.waiting import eventually
from tests.kit.webhook_receiver import HANG, Answer, Calls, WebhookReceiver


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


async def test_one_call_per_state_change_signed_and_logged(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, secret = await stage.endpoint(receiver.url("/a"))
    async with running(stage.broker):
        walk = stage.walk()
        await stage.write(walk)
        arrived = await receiver.requests("/a", 3)
        bodies = {request.webhook_id: request.verified(secret) for request in arrived}
        assert set(bodies) == {event.id for event in walk}
        for event in walk:
            body = bodies[event.id]
            assert body.pop("timestamp") == event.time
            assert body == json.loads(stage.record(event).value or b"")
        await eventually(lambda: closed(stage, *(derived_id("whd", event.id, endpoint.id) for event in walk)))
        attempts = await stage.attempts(endpoint)
    assert {(made.event_id, made.outcome, made.status_code, made.attempt) for made in attempts} == {
        (event.id, "succeeded", 204, 1) for event in walk
    }
    assert len(receiver.received) == len(attempts) == 3


async def test_filters_and_projects(stage: Stage, receiver: WebhookReceiver) -> None:
    await stage.endpoint(receiver.url("/delivered"), events=["message.delivered"])
    await stage.endpoint(receiver.url("/news"), tags=["news"])
    await Stage(stage.broker, stage.log).endpoint(receiver.url("/stranger"))
    await stage.endpoint(receiver.url("/all"))
    async with running(stage.broker):
        await stage.write(stage.walk())
        await stage.events(tags=["news", "may"])
        await receiver.requests("/all", 4)
        (delivered,) = await receiver.requests("/delivered", 1)
        assert delivered.event["type"] == "message.delivered"
        (news,) = await receiver.requests("/news", 1)
        assert news.event["data"]["tags"] == ["news", "may"]
    assert receiver.at("/stranger") == []


async def test_d96_a_rotated_an_old_and_a_forged_secret_are_judged_right(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    endpoint, secret = await stage.endpoint(receiver.url("/a"))
    fresh, forged = ("whsec_" + letter * 42 + "A=" for letter in "Qg")
    async with running(stage.broker):
        await stage.events()
        (before,) = await receiver.requests("/a", 1)
        await stage.rotate(endpoint, fresh, overlap_ms=60_000)
        await stage.events()
        both = (await receiver.requests("/a", 2))[1]
        await stage.rotate(endpoint, fresh, overlap_ms=-1)
        await stage.events()
        after = (await receiver.requests("/a", 3))[2]
    assert before.verified(secret)
    assert both.verified(secret) == both.verified(fresh)
    assert after.verified(fresh)
    for request, wrong in ((before, fresh), (both, forged), (after, secret)):
        with pytest.raises(WebhookVerificationError):
            request.verified(wrong)


async def test_r31_a_test_event_is_called_once_and_logged_whatever_the_filters_say(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    endpoint, secret = await stage.endpoint(receiver.url("/a"), events=["message.bounced"], tags=["none"])
    receiver.script("/a", Answer(500, body=b"not now"))
    async with running(stage.broker):
        event_id = await stage.ask_test(endpoint)
        (request,) = await receiver.requests("/a", 1)
        await eventually(lambda: closed(stage, derived_id("whd", event_id, endpoint.id)))
    (attempt,) = await stage.attempts(endpoint)
    assert (request.webhook_id, request.verified(secret)["type"]) == (event_id, "webhook.test")
    assert (attempt.cause, attempt.outcome, attempt.status_code, attempt.response) == (
        "test",
        "exhausted",
        500,
        "not now",
    )


async def test_500_then_200_is_the_same_id_at_a_new_time(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, secret = await stage.endpoint(receiver.url("/a"))
    receiver.script("/a", Answer(500, body=b"not now"))
    async with running(stage.broker):
        (event,) = await stage.events()
        first, second = await receiver.requests("/a", 2)
        await eventually(lambda: closed(stage, derived_id("whd", event.id, endpoint.id)))
        failed, succeeded = await stage.attempts(endpoint)
    assert first.webhook_id == second.webhook_id == event.id
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert first.verified(secret) == second.verified(secret)
    assert (failed.outcome, failed.status_code, failed.response, failed.attempt) == ("failed", 500, "not now", 1)
    assert failed.next_attempt_at is not None
    assert (succeeded.outcome, succeeded.attempt, succeeded.next_attempt_at) == ("succeeded", 2, None)


async def test_the_last_attempt_is_the_last(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, _ = await stage.endpoint(receiver.url("/a"), events=["message.*"])  # of the other it hears nothing
    receiver.always("/a", Answer(500))
    receiver.script("/gone", Answer(410))
    gone, _ = await stage.endpoint(receiver.url("/gone"))
    async with running(stage.broker):
        (event,) = await stage.events()
        await eventually(lambda: closed(stage, *(derived_id("whd", event.id, one.id) for one in (endpoint, gone))))
        assert [made.outcome for made in await stage.attempts(endpoint)] == ["failed", "exhausted"]
        assert [made.outcome for made in await stage.attempts(gone)] == ["exhausted"]
    assert (len(receiver.at("/a")), len(receiver.at("/gone"))) == (2, 1)


async def test_a_hanging_endpoint_does_not_delay_another(stage: Stage, receiver: WebhookReceiver) -> None:
    """D95: everything for the one is through before the other has answered at all; it never has more than five open."""
    hanging, _ = await stage.endpoint(receiver.url("/hanging"))
    await stage.endpoint(receiver.url("/quick"))
    receiver.always("/hanging", HANG)
    async with running(stage.broker):
        await stage.events(20)
        await receiver.requests("/hanging", 5)  # as many as it may have
        await stage.events(100)
        await receiver.requests("/quick", 120, within=10)  # sooner than the others' time-out of 15 s
        assert len(receiver.at("/hanging")) == 5
        assert await stage.attempts(hanging) == []
        receiver.release()
        await receiver.requests("/hanging", 120)


async def test_kill_9_between_request_and_record(stage: Stage, receiver: WebhookReceiver) -> None:
    """D97: the request is out, its record is not: it goes out again, under the same id."""
    endpoint, secret = await stage.endpoint(receiver.url("/a"))
    async with process(stage.broker) as doomed:
        receiver.script("/a", Calls(lambda: os.kill(doomed.pid, signal.SIGKILL)))
        (event,) = await stage.events()
        await receiver.requests("/a", 1)
        assert await asyncio.to_thread(doomed.wait) == -signal.SIGKILL
    assert await stage.attempts(endpoint) == []
    async with process(stage.broker):
        first, second = await receiver.requests("/a", 2)
        await eventually(lambda: closed(stage, derived_id("whd", event.id, endpoint.id)))
    assert first.webhook_id == second.webhook_id == event.id
    assert first.verified(secret) == second.verified(secret)
    assert [made.outcome for made in await stage.attempts(endpoint)] == ["succeeded"]


async def test_a_restart_keeps_what_is_pending(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, _ = await stage.endpoint(receiver.url("/a"))
    receiver.script("/a", Answer(500))
    async with running(stage.broker):
        (event,) = await stage.events()
        await receiver.requests("/a", 1)

        async def failure_recorded() -> bool:
            return b'"attempt":2' in (await stage.pending(derived_id("whd", event.id, endpoint.id)) or b"")

        await eventually(failure_recorded, within=1.2, every=0.02)
    assert len(receiver.at("/a")) == 1  # stopped before its time
    async with running(stage.broker):
        await receiver.requests("/a", 2)
        await eventually(lambda: closed(stage, derived_id("whd", event.id, endpoint.id)))
    assert [made.attempt for made in await stage.attempts(endpoint)] == [1, 2]


async def test_a_stop_lets_an_open_request_end_and_records_it(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, _ = await stage.endpoint(receiver.url("/a"))
    receiver.script("/a", HANG)
    async with running(stage.broker):
        await stage.events()
        await receiver.requests("/a", 1)
        asyncio.get_running_loop().call_later(0.5, receiver.release)
    assert [made.outcome for made in await stage.attempts(endpoint)] == ["succeeded"]
    assert len(receiver.at("/a")) == 1


async def test_an_event_that_is_read_again_is_not_sent_again(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, _ = await stage.endpoint(receiver.url("/a"))
    async with running(stage.broker):
        (event,) = await stage.events()
        delivery_id = derived_id("whd", event.id, endpoint.id)
        await receiver.requests("/a", 1)
        await eventually(lambda: closed(stage, delivery_id))
        await stage.write([event])

        async def said_again() -> bool:
            said = [value is None for key, value in await stage.all_of(DELIVERIES) if key == delivery_id]
            return said == [False, True, False, True]

        await eventually(said_again)  # reopened by the fan-out, closed again by the owner
    assert len(receiver.received) == 1
    assert len(await stage.attempts(endpoint)) == 1


async def test_endpoints_that_come_and_go(stage: Stage, receiver: WebhookReceiver) -> None:
    """An endpoint gets what happens from the moment on that it is there; a deleted one gets nothing more."""
    async with running(stage.broker):
        before = stage.queued()
        await asyncio.sleep(0.6)  # beyond the tolerance for clocks that differ
        endpoint, _ = await stage.endpoint(receiver.url("/a"))
        (after,) = await stage.events()
        await stage.write([before])
        await receiver.requests("/a", 1)
        receiver.script("/a", Answer(500))
        (last,) = await stage.events()
        await receiver.requests("/a", 2)
        await stage.delete(endpoint)
        await eventually(lambda: closed(stage, derived_id("whd", last.id, endpoint.id)))
    assert [request.webhook_id for request in receiver.received] == [after.id, last.id]
    assert [made.outcome for made in await stage.attempts(endpoint)] == ["succeeded", "failed"]


async def test_a_secret_that_no_key_opens_sends_nothing_and_uses_no_attempt(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    sealed, _ = await stage.endpoint(receiver.url("/sealed"), sealing_key=Fernet.generate_key().decode())
    await stage.endpoint(receiver.url("/a"))
    async with running(stage.broker):
        (event,) = await stage.events()
        await receiver.requests("/a", 1)
        pending = await stage.pending(derived_id("whd", event.id, sealed.id))
        assert b'"attempt":1' in (pending or b"")
        await stage.delete(sealed)
    assert receiver.at("/sealed") == []
    assert await stage.attempts(sealed) == []


async def test_poison_goes_to_the_dead_letters_and_the_rest_flows(stage: Stage, receiver: WebhookReceiver) -> None:
    _, secret = await stage.endpoint(receiver.url("/a"))
    poison = [b"{", b"\xff\x00", b'{"type":"message.unheard_of"}', b'{"type":"message.queued"}', b"x" * 900_000]
    async with running(stage.broker):
        for topic in (EVENTS, DELIVERIES):
            await stage.append(*(Outgoing(topic.name, "poison", value, 0) for value in poison))
        await stage.append(
            Outgoing(EVENTS.name, "poison", None, 0), Outgoing(EVENTS.name, "", b"{}", 0, (("h", b"\xff"),))
        )
        await stage.events(20)
        arrived = await receiver.requests("/a", 20)
        assert all(request.verified(secret) for request in arrived)

        async def buried(group: str, topic: Topic, count: int) -> bool:
            letters = await stage.dead_letters(group, topic)
            return len([key for key, _ in letters if key in {"poison", ""}]) == count

        await eventually(lambda: buried("webhooks", EVENTS, len(poison) + 2))
        await eventually(lambda: buried("webhooks.deliveries", DELIVERIES, len(poison)))


async def test_two_processes_share_the_work_and_one_takes_over(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint, _ = await stage.endpoint(receiver.url("/a"))
    async with process(stage.broker) as first, process(stage.broker):
        events = await stage.events(50)
        await receiver.requests("/a", 50)
        first.kill()
        events += await stage.events(50)
        await receiver.requests("/a", 100, within=40)
        await eventually(lambda: closed(stage, *(derived_id("whd", event.id, endpoint.id) for event in events)))
    assert {request.webhook_id for request in receiver.received} == {event.id for event in events}
    attempts = await stage.attempts(endpoint)
    assert {made.event_id for made in attempts} == {event.id for event in events}
    assert all(earlier.at <= later.at for earlier, later in pairwise(attempts))


async def test_a_broker_that_dies_and_comes_back(stage: Stage, receiver: WebhookReceiver) -> None:
    """Last in the module: a request is open while the broker goes; its result is in the log in the end."""
    endpoint, _ = await stage.endpoint(receiver.url("/a"))
    receiver.script("/a", HANG)
    async with running(stage.broker):
        (event,) = await stage.events()
        await receiver.requests("/a", 1)
        await asyncio.to_thread(stage.broker.kill)
        receiver.release()
        await asyncio.to_thread(stage.broker.restart)
        await eventually(lambda: closed(stage, derived_id("whd", event.id, endpoint.id)), within=60)
        (later,) = await stage.events()
        await eventually(lambda: closed(stage, derived_id("whd", later.id, endpoint.id)), within=60)
    assert {request.webhook_id for request in receiver.received} == {event.id, later.id}
