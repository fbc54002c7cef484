"""Mail with a time: not early, not lost, not twice; cancelled or sent, never both (R6, R7; D22, D23)."""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from chassis.clock import SystemClock
from schemas.envelope import to_ms, to_timestamp
from tests.kit.oracle import by_message
from tests.kit.stack import Json, Stack
from tests.kit.waiting import eventually

RACES = int(os.environ.get("RACES", "300"))  # `make drills` runs a thousand
RACE_AT_MS = 6_000 + 15 * RACES  # from the first request on: time to hand over all of them
CANCEL_WITHIN = 1.5  # seconds before and after they are due, evenly: however fast this machine is, some come too late
AT_ONCE = 50  # requests under way
FAR_MS = 3_600_000


def in_ms(ms: int) -> int:
    return SystemClock().now_ms() + ms


async def scheduled(stack: Stack, recipient: str, time_ms: int) -> str:
    answer = await stack.send(recipient, scheduled_time=to_timestamp(time_ms))
    assert answer["status"] == "scheduled"
    message_id: str = answer["message_id"]
    return message_id


def types(message: Json) -> list[str]:
    return [event["type"].removeprefix("message.") for event in message["timeline"]]


def begun_at(events: list[Json]) -> list[int]:
    """When its attempts began."""
    return [to_ms(event["data"]["attempt"]["started_at"]) for event in events if "attempt" in event["data"]]


async def test_a_scheduled_mail_goes_out_at_its_time(stack: Stack) -> None:
    """R6."""
    time_ms = in_ms(3000)
    message_id = await scheduled(stack, "later@times.example", time_ms)
    assert (await stack.message_when(message_id, "scheduled"))["reason"] == "scheduled"
    message = await stack.message_when(message_id, "delivered")
    assert types(message) == ["queued", "scheduled", "accepted", "delivered"]
    (begun,) = begun_at(message["timeline"])
    assert time_ms <= begun < time_ms + 5000
    assert stack.copies()[message_id] == 1
    for method, body, status in (("DELETE", None, 404), ("PATCH", {"scheduled_time": to_timestamp(in_ms(5000))}, 409)):
        answered, refused, _ = await stack.call(method, f"/v1/messages/{message_id}", body)
        assert answered == status
        assert "delivered" in refused["error"]["message"]


async def test_a_cancelled_mail_never_goes_out(stack: Stack) -> None:
    """R7: at any replica, as often as one likes."""
    time_ms = in_ms(2500)
    message_id = await scheduled(stack, "never@times.example", time_ms)
    sentinel = await scheduled(stack, "sentinel@times.example", time_ms + 1)
    for replica in (0, 1, 0):
        status, message, _ = await stack.call("DELETE", f"/v1/messages/{message_id}", ingest=replica)
        assert (status, message["status"]) == (200, "cancelled")
    await stack.message_when(sentinel, "delivered")
    message = await stack.message_when(message_id, "cancelled")
    assert types(message) == ["queued", "scheduled", "cancelled"]
    assert stack.copies()[message_id] == 0


async def test_a_moved_mail_goes_out_at_its_last_time(stack: Stack) -> None:
    """R6: sooner and later."""
    first_ms = in_ms(2000)
    postponed = await scheduled(stack, "postponed@times.example", first_ms)
    hastened = await scheduled(stack, "hastened@times.example", in_ms(FAR_MS))
    second_ms = in_ms(4000)
    body = {"scheduled_time": to_timestamp(second_ms)}
    for message_id in (postponed, hastened):
        status, message, _ = await stack.call("PATCH", f"/v1/messages/{message_id}", body)
        assert (status, message["status"]) == (200, "scheduled")
    for message_id in (postponed, hastened):
        message = await stack.message_when(message_id, "delivered")
        assert types(message) == ["queued", "scheduled", "rescheduled", "accepted", "delivered"]
        (begun,) = begun_at(message["timeline"])
        assert second_ms <= begun < second_ms + 5000
        assert stack.copies()[message_id] == 1


async def test_what_is_due_while_the_router_is_dead_goes_out_once(stack: Stack) -> None:
    """D22: killed before the due second; its successor finds all of them."""
    time_ms = in_ms(2000)
    sent = await asyncio.gather(*(scheduled(stack, f"r{n}@d{n}.example", time_ms) for n in range(20)))
    kept = [await scheduled(stack, f"kept{n}@times.example", in_ms(FAR_MS)) for n in range(3)]
    stack.kill("router")
    for message_id in sent:
        message = await stack.message_when(message_id, "delivered", within=40)
        assert all(begun >= time_ms for begun in begun_at(message["timeline"]))
    copies = stack.copies()
    assert {copies[message_id] for message_id in sent} == {1}
    for message_id in kept:
        status, message, _ = await stack.call("DELETE", f"/v1/messages/{message_id}")
        assert (status, message["status"]) == (200, "cancelled")


@dataclass(slots=True)
class Races:
    """What clients were told about each message."""

    stack: Stack
    told: dict[str, int] = field(default_factory=dict)  # the last status code by message id

    async def hand_over(self, time_ms: int) -> list[str]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> str:
            async with slots:
                return await scheduled(self.stack, f"race{number}@d{number % 40}.example", time_ms)

        return await asyncio.gather(*(one(number) for number in range(RACES)))

    async def cancel_all(self, message_ids: list[str]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, message_id: str) -> None:
            await asyncio.sleep(2 * CANCEL_WITHIN * number / RACES)
            async with slots:
                while self.told.get(message_id) in {None, 503}:
                    self.told[message_id], _, _ = await self.stack.call(
                        "DELETE", f"/v1/messages/{message_id}", ingest=number % 2, Idempotency_Key="race"
                    )

        await asyncio.gather(*(one(number, message_id) for number, message_id in enumerate(message_ids)))


@pytest.mark.timeout(240)  # of a thousand, on a busy machine
async def test_cancel_against_due(stack: Stack) -> None:
    """D23: many races. Every answer is true: 200 and no copy, or 404 and exactly one."""
    time_ms = in_ms(RACE_AT_MS)
    races = Races(stack)
    message_ids = await races.hand_over(time_ms)
    left = (time_ms - in_ms(0)) / 1000 - CANCEL_WITHIN
    assert left > 0, "this machine was too slow to hand them over before they were due"
    await asyncio.sleep(left)
    Random(23).shuffle(message_ids)
    await races.cancel_all(message_ids)
    assert set(races.told.values()) == {200, 404}, Counter(races.told.values())  # else there was no race
    cancelled = {message_id for message_id, status in races.told.items() if status == 200}
    sent = {message_id for message_id, status in races.told.items() if status == 404}
    assert len(cancelled) + len(sent) == RACES

    async def arrived() -> bool:
        return sent <= set(stack.copies())

    await eventually(arrived, within=60, every=1)  # of a machine that has much to do
    events = by_message(await stack.read_topic("message-events"))
    copies = stack.copies()
    assert {copies[message_id] for message_id in sent} == {1}
    assert {copies[message_id] for message_id in cancelled} == {0}
    assert {events[message_id][-1]["type"] for message_id in cancelled} == {"message.cancelled"}
    assert not any("cancelled" in event["type"] for message_id in sent for event in events[message_id])
    assert all(begun >= time_ms for message_id in sent for begun in begun_at(events[message_id]))
