"""The error policy: what a handler's end means, and when dead letters are too many (D26, D35)."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from chassis.failures import DeadLetters, Done, Poison, Retry, TooManyDeadLetters, attempt, contained
from chassis.log import Ack, Incoming, Log, LogUnavailable, Outgoing
from schemas.topics import TOPICS

TOPIC = TOPICS["message-events"]
RECORD = Incoming(TOPIC.name, 3, 7, 1234, "msg_1", b"\xff\x00", (("bad", b"\xff"), ("empty", b"")))


class Paper:
    """A log that keeps what is appended, or refuses."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.away = False

    async def append(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        if self.away:
            raise LogUnavailable("away")
        self.records.extend(records)
        return [Ack(record.topic, 0, len(self.records) - 1, 1) for record in records]

    def broker_now_ms(self) -> int:
        return 0


def letters(paper: Paper, **limits: Any) -> DeadLetters:
    return DeadLetters(cast(Log, paper), group="analytics", **limits)


async def bury(dead_letters: DeadLetters, count: int) -> None:
    for _ in range(count):
        await dead_letters.bury(TOPIC, RECORD, "not JSON", within=1)


async def test_d26_a_dead_letter_keeps_the_record_and_says_why_and_from_where() -> None:
    paper = Paper()
    reference = await letters(paper).bury(TOPIC, RECORD, "x" * 1000, within=1, error_type="MalformedRecord")
    (dead,) = paper.records
    assert reference == f"dlq.analytics.{TOPIC.name}/0/0"
    assert (dead.topic, dead.key, dead.value) == (f"dlq.analytics.{TOPIC.name}", "msg_1", b"\xff\x00")
    assert dead.headers[:2] == RECORD.headers
    assert dict(dead.headers[2:]) == {
        "dlq-topic": TOPIC.name.encode(),
        "dlq-partition": b"3",
        "dlq-offset": b"7",
        "dlq-timestamp": b"1234",
        "dlq-group": b"analytics",
        "dlq-error-type": b"MalformedRecord",
        "dlq-error": b"x" * 512,
        "dlq-at": b"1970-01-01T00:00:00.000Z",
    }


async def test_d35_a_run_of_dead_letters_stops_the_service_before_the_next_is_written() -> None:
    paper = Paper()
    dead_letters = letters(paper)
    await bury(dead_letters, 50)
    with pytest.raises(TooManyDeadLetters):
        await bury(dead_letters, 1)
    assert len(paper.records) == 50


async def test_d35_good_records_end_a_run_but_not_the_ratio() -> None:
    paper = Paper()
    dead_letters = letters(paper, run_limit=10)
    for _ in range(5):
        await bury(dead_letters, 10)
        dead_letters.handled(100)
    with pytest.raises(TooManyDeadLetters):
        await bury(dead_letters, 1)
    dead_letters.handled(600)  # the first of them leave the window
    await bury(dead_letters, 1)


async def test_a_rare_bad_record_never_stops_anything() -> None:
    dead_letters = letters(Paper())
    for _ in range(300):
        await bury(dead_letters, 1)
        dead_letters.handled(30)


async def test_d27_what_the_dlq_did_not_take_does_not_count_as_buried() -> None:
    paper = Paper()
    dead_letters = letters(paper, run_limit=1)
    paper.away = True
    for _ in range(5):
        with pytest.raises(LogUnavailable):
            await bury(dead_letters, 1)
    paper.away = False
    await bury(dead_letters, 1)


async def raising(error: Exception) -> None:
    raise error


async def test_a_handler_ends_in_one_of_four_ways() -> None:
    async def answer() -> int:
        return 42

    assert await attempt(answer()) == Done(42)
    retry, poison = Retry(2.0, "ClickHouse is away"), Poison(RECORD, "no such thing")
    assert await attempt(raising(retry)) is retry
    assert await attempt(raising(poison)) is poison
    unavailable = await attempt(raising(LogUnavailable("no ack")))
    assert isinstance(unavailable, Retry)
    assert unavailable.after > 0
    with pytest.raises(ZeroDivisionError):
        await attempt(raising(ZeroDivisionError()))


async def test_what_nobody_named_stops_the_service() -> None:
    reported: list[BaseException] = []

    class Book:
        def report(self, error: BaseException) -> None:
            reported.append(error)

    await contained(raising(KeyError("bug")), Book())
    assert [type(error) for error in reported] == [KeyError]


def test_without_anybody_to_tell_the_process_ends() -> None:
    async def main() -> None:
        await contained(raising(KeyError("bug")), None)
        await asyncio.sleep(60)

    with pytest.raises(SystemExit) as end:
        asyncio.run(main())
    assert end.value.code == 1
