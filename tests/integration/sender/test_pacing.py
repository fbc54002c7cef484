"""One destination's slowness is its own: slots and carrier against servers that never greet (R21; D34, D51)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from schemas.mail import Priority
from services.sender.adapters.rooms import Sizes
from services.sender.adapters.slots import PacedSlots
from services.sender.adapters.smtp import Limits, SmtpCarrier
from services.sender.adapters.smtp_setup import SetUp
from services.sender.domain.queue import Candidate
from services.sender.domain.shaping import Override
from services.sender.ports import NoRoom, PathLimits, Server, Way
from tests.integration.sender.test_smtp import MAIL, OpenGate
from tests.kit.smtp_server import HANG, script_of, smtp_server

IN_HAND = 100


class NoPolicies:
    def of_group(self, group: str) -> Override:
        del group
        return Override()

    def of_destination(self, group: str, destination: str) -> Override:
        del group, destination
        return Override()


class Sender:
    """As much of one as matters here: so many deliveries at hand, in the order of the log."""

    def __init__(self) -> None:
        sizes = Sizes(200, IN_HAND, 1, PathLimits(20, 1000), 30)
        self.slots = PacedSlots(sizes, NoPolicies(), lambda: time.time_ns() // 1_000_000)
        self.carrier = SmtpCarrier(SetUp("sender.test"), Limits(30, 1000, 30), self.slots.shape)
        self.took: dict[str, list[float]] = {}
        self.back = 0
        self.at_hand = asyncio.Semaphore(IN_HAND)
        self.tasks: set[asyncio.Task[None]] = set()

    async def begin(self, way: Way, destination: str, *, priority: Priority = "normal", came: float) -> None:
        """Waits, as the consumer does, until there is room at hand."""
        await self.at_hand.acquire()
        task = asyncio.create_task(self._carry(way, destination, priority, came))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _carry(self, way: Way, destination: str, priority: Priority, came: float) -> None:
        try:
            self.slots.check(way, Candidate(destination, priority))
            async with self.slots.slot(way, Candidate(destination, priority), within=60) as slot:
                carried = await self.carrier.carry(way, MAIL, OpenGate(), dot_by=time.monotonic() + 60)
                slot.tell(carried)
            self.took.setdefault(destination, []).append(time.monotonic() - came)
        except NoRoom:
            self.back += 1
        finally:
            self.at_hand.release()


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    made = Sender()

    async def tick() -> None:
        while True:
            made.slots.tick()
            await asyncio.sleep(0.2)

    ticking = asyncio.create_task(tick())
    try:
        yield made
    finally:
        for task in [ticking, *made.tasks]:
            task.cancel()
        await asyncio.wait([ticking, *made.tasks])
        await made.carrier.stop()


async def p95_of_good(made: Sender, good: Way, tarpits: list[Way], *, each: int) -> float:
    """200 good mails, `each` to a tarpit before every one of them; latency from the time that they are in the log."""
    async with asyncio.timeout(20):
        for n in range(200):
            came = time.monotonic()
            for m in range(each):
                way = tarpits[(n * each + m) % len(tarpits)]
                await made.begin(way, way.provider_group, came=came)
            await made.begin(good, "good", came=came)
            await asyncio.sleep(0.005)
        while len(made.took.get("good", ())) < 200:
            await asyncio.sleep(0.02)
    return sorted(made.took["good"])[190]


@pytest.mark.parametrize(("tarpits", "each"), [(1, 25), (500, 5)], ids=["5,000 mails to one", "500 of them"])
async def test_tarpits_do_not_slow_another_destination_down(tarpits: int, each: int) -> None:
    async with smtp_server() as good, smtp_server(script_of({"greeting": HANG})) as tarpit:
        to_good = Way("upstream", "upstream", servers=(Server("127.0.0.1", good.port),))
        to_tarpits = [
            Way("mx:main", f"t{n}.example", servers=(Server("127.0.0.1", tarpit.port),)) for n in range(tarpits)
        ]
        async with sender() as made:
            alone = await p95_of_good(made, to_good, [], each=0)
        async with sender() as made:
            beside = await p95_of_good(made, to_good, to_tarpits, each=each)
            assert made.back > 0
            assert tarpit.most_open <= (2 if tarpits == 1 else IN_HAND // 2)
            came = time.monotonic()
            await made.begin(to_good, "critical", priority="critical", came=came)
            async with asyncio.timeout(10):
                while "critical" not in made.took:
                    await asyncio.sleep(0.02)
        assert beside <= alone * 1.2 + 0.5, (alone, beside)
