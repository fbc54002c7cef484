"""What 50,000 bulk mails that wait for a slow destination cost a critical mail to it, and one to another (R10)."""

from schemas.topics import PARTITIONS, TOPICS
from tests.bench import mails
from tests.bench.client import Load
from tests.bench.measure import Bench
from tests.bench.report import Figures, percentiles
from tests.bench.taken import slowed
from tests.kit.groups import uncommitted
from tests.kit.waiting import eventually

MOST_WAITING = 50_000
CRITICAL_PER_SECOND = 20  # half of it to the slow destination: a quarter of what ten connections of it carry
_SETTLED = 500  # records that are not read yet: what is under way at any moment
_SLOW_SECONDS = 0.25


async def critical_beside_bulk(bench: Bench) -> Figures:
    """The same critical mail twice, alone and beside the bulk; in a short trial less bulk waits."""
    async with slowed(bench.slow, mails.SLOW_DESTINATION, _SLOW_SECONDS):
        alone = await _critical(bench, "critical alone")
        client = bench.client(path="/v1/messages/batch", content=mails.bulk_batch)
        bulk = await client.each(round(min(MOST_WAITING, bench.seconds * mails.PER_BATCH)) // mails.PER_BATCH)
        await settled(bench.stack.description["kafka"], within=60 + len(bulk.ids) / 25)
        beside = await _critical(bench, "critical beside bulk")
        waiting = len(bulk.ids) - bench.count_taken(bulk)
    await bench.drained(bulk)
    ratios = {
        f"critical p99 beside bulk over idle, {to} destination": beside[f"critical beside bulk, {to}: p99 ms"]
        / alone[f"critical alone, {to}: p99 ms"]
        for to in ("same", "another")
    }
    return {"bulk mails still waiting after it": waiting, **alone, **beside, **ratios}


async def settled(kafka: str, *, within: float) -> None:
    """Until the router has read its inputs, and analytics the events."""

    async def read(group: str, *entries: str) -> bool:
        left = await uncommitted(kafka, group, [TOPICS[entry].name for entry in entries], PARTITIONS)
        return 0 <= left <= _SETTLED

    async def both() -> bool:
        inputs = ("message-inputs.express", "message-inputs.standard")
        return await read("router", *inputs) and await read("analytics", "message-events")

    await eventually(both, within=within, every=0.5)


async def _critical(bench: Bench, name: str) -> Figures:
    client = bench.client(content=mails.critical)
    load = await client.open_loop(bench.seconds, CRITICAL_PER_SECOND)
    await bench.all_taken(load)
    figures: Figures = {}
    for to, odd in (("same", 0), ("another", 1)):
        figures |= percentiles(f"{name}, {to}", _to_the_server(bench, load, odd))
    return figures


def _to_the_server(bench: Bench, load: Load, odd: int) -> list[float]:
    moments = bench.taken.moments
    rows = zip(load.ids, load.numbers, load.due, strict=True)
    return [moments[one] - due for one, number, due in rows if number % 2 == odd]
