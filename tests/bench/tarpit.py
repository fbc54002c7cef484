"""What 5,000 mails to a server that takes seconds for each cost the mail to all others (R21)."""

from tests.bench import mails
from tests.bench.bulk import settled
from tests.bench.measure import END_TO_END_PER_SECOND, Bench
from tests.bench.report import Figures, percentiles
from tests.bench.taken import slowed

MOST = 5000
_RCPT_SECONDS = 5.0  # within the deadline of an attempt, so that each holds its connection for so long


async def others_beside_a_tarpit(bench: Bench) -> Figures:
    """Twenty other destinations, without it and beside it; in a short trial there are fewer mails.

    A first window counts for nothing: the p95 of the same load falls to a third in the first minute, while Kafka is
    compiled. It follows the machine's speed from then on, so without the tarpit there is one window before and one after,
    and the better of the two is what the one beside it is held against.
    """
    await _others(bench)
    before = await _others(bench)
    async with slowed(bench.slow, mails.TARPIT_DESTINATION, _RCPT_SECONDS):
        client = bench.client(path="/v1/messages/batch", content=mails.tarpit_batch)
        batches = max(1, round(min(MOST, bench.seconds * mails.PER_BATCH)) // mails.PER_BATCH)
        load = await client.each(batches)
        await settled(bench.stack.description["kafka"], within=60 + len(load.ids) / 25)
        beside = await _others(bench)
        waiting = len(load.ids) - bench.count_taken(load)
    await bench.drained(load)
    after = await _others(bench)
    figures: Figures = {
        "mails in the tarpit after it": waiting,
        **percentiles("others before a tarpit", before, of=(50, 95)),
        **percentiles("others beside a tarpit", beside, of=(50, 95)),
        **percentiles("others after a tarpit", after, of=(50, 95)),
    }
    times = (f"others {when} a tarpit: p95 ms" for when in ("before", "after"))
    return figures | {"others without a tarpit, the better window: p95 ms": min(figures[time] for time in times)}


async def _others(bench: Bench) -> list[float]:
    """Seconds from the moment a request is due until the mail server has said 250."""
    load = await bench.client().open_loop(bench.seconds, END_TO_END_PER_SECOND)
    await bench.drained(load)
    taken = bench.taken.moments
    return [taken[one] - due for one, due in zip(load.ids, load.due, strict=True)]
