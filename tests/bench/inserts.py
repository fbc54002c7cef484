"""A backlog of events from Kafka into ClickHouse, all views included: what an event costs analytics, and nothing else.

Told twice: of the whole process, in which the embedded ClickHouse works as well, and of the threads that are analytics' own,
which is what is left of it beside a ClickHouse server. The thread that calls ClickHouse works inside of it and counts with it;
what it does for analytics, putting the rows into ClickHouse's form, is 4 µs of an event.
"""

import asyncio

from aiokafka import AIOKafkaProducer

from chassis.ids import parse_message_id
from schemas.envelope import encode
from schemas.topics import TOPICS
from tests.bench.measure import EVENTS_PER_MAIL, Bench
from tests.bench.processes import Meter, cpu_seconds_by_thread, held
from tests.bench.report import Figures
from tests.kit.history import History
from tests.kit.waiting import eventually

_TOPIC = TOPICS["message-events"]
_PER_SECOND = 1500  # of the measurement: how many events it takes
_OWN = "python"  # threads that ClickHouse has not given a name of its own


async def backlog_inserted(bench: Bench) -> Figures:
    """Written while analytics is held; CPU from its release until the last row is in, its return to the group included."""
    count = round(bench.seconds * _PER_SECOND) // EVENTS_PER_MAIL * EVENTS_PER_MAIL
    pid = bench.stack.pid("analytics")
    meter, threads = Meter({"analytics": pid}), cpu_seconds_by_thread(pid)
    before = await bench.rows()
    with held(pid):
        await _append(bench.stack.description["kafka"], count)

    async def inserted() -> bool:
        return await bench.rows() >= before + count

    await eventually(inserted, within=60 + count / 500, every=0.2)
    bench.accepted += count // EVENTS_PER_MAIL  # as whoever counts rows reckons
    return {
        "inserts: events per CPU-s of analytics": count / meter.read()["analytics"],
        "inserts: events per CPU-s of its own threads": count / _of_its_own(threads, cpu_seconds_by_thread(pid)),
    }


def _of_its_own(before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]) -> float:
    """CPU seconds of Python's threads between the two."""
    own = {thread: seconds for thread, (name, seconds) in after.items() if name.startswith(_OWN)}
    return sum(seconds - before.get(thread, ("", 0.0))[1] for thread, seconds in own.items())


async def _append(kafka: str, count: int) -> None:
    """Lives of three events, each in its message's partition."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=262_144, linger_ms=5)
    await producer.start()
    history = History(now_ms=1_790_000_000_000)
    try:
        for _ in range(0, count, EVENTS_PER_MAIL):
            for event in history.life("queued", "accepted", "delivered"):
                known = parse_message_id(event.subject)
                assert known is not None
                partition = known.partition % _TOPIC.partitions  # ids are of a wider installation
                await producer.send(_TOPIC.name, encode(event), event.subject.encode(), partition)
        await producer.flush()
    finally:
        await asyncio.wait_for(producer.stop(), 30)
