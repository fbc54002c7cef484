"""The long drill: thousands of mails through two of everything, while every process dies again and again (R22 to R24).

kill -9, SIGTERM and freezes of each service and of the broker in an order that the seed sets, a sink that defers some,
bounces some and loses some replies. Judged from all sides at the end, offsets on the way.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.drills.faults import BEYOND_THE_SESSION, back, frozen, restarted, settled
from tests.drills.field import REPLY_AFTER, Field, field_of
from tests.drills.load import Load
from tests.drills.settings import DrillSettings
from tests.kit.smtp_server import CLOSE, At, Fault, says

pytestmark = [pytest.mark.long, pytest.mark.timeout(5400)]

SERVICES = ("ingest", "router", "sender", "webhooks", "analytics")
FREEZES = ("ingest", "router", "router", "sender", "sender", "webhooks", "kafka")
ROLLING_RESTARTS = 2
PER_SECOND = 12.0  # mails, while faults are made; the rest goes as fast as it can


@dataclass(slots=True)
class Weather:
    """A mail server on a bad day: by recipient, and only once each."""

    dice: Random
    fates: dict[str, str] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)

    def script(self, at: At, recipient: str) -> Fault | None:
        if at == "rcpt" and recipient not in self.fates:
            self.fates[recipient] = self.dice.choices(("well", "busy", "lost", "gone"), (92, 5, 2, 1))[0]
        fate = self.fates.get(recipient)
        if at == "rcpt" and fate == "gone":
            self.met[fate] += 1
            return says("550 5.1.1 No such user")
        if at == "rcpt" and fate == "busy":
            return self._once(recipient, fate, says("450 4.2.1 Come back later"))
        if at == "reply" and fate == "lost":
            return self._once(recipient, fate, CLOSE)
        return Fault(delay=self.dice.uniform(0.05, REPLY_AFTER)) if at == "reply" else None

    def _once(self, recipient: str, fate: str, fault: Fault) -> Fault:
        self.met[fate] += 1
        self.fates[recipient] = "well"
        return fault


@dataclass(slots=True)
class Campaign:
    """All faults of one run, in the seed's order; `made` counts those that met mail in flight."""

    place: Field
    load: Load
    dice: Random
    made: Counter[str] = field(default_factory=Counter)

    async def run(self, kills: int) -> None:
        plan = [("kill", name) for name in (*SERVICES, "kafka") for _ in range(kills)]
        plan += [("freeze", name) for name in FREEZES]
        plan += [("roll", "all")] * ROLLING_RESTARTS
        self.dice.shuffle(plan)
        for kind, name in plan:
            await asyncio.sleep(self.dice.uniform(0, 1))
            await self.place.wait_in_flight(self.load)
            match kind:
                case "kill":
                    await self._kill(name)
                case "freeze":
                    await self._freeze(name)
                case _:
                    await self._roll()
            self.made[f"{kind} {name}"] += 1
            await settled(self.place.stack)

    async def _kill(self, name: str) -> None:
        replica = self._replica(name)
        pid = self.place.stack.kill(name, replica)
        self.place.assert_in_flight(self.load, f"{name} died")
        if name in {"router", "sender"}:
            await self.place.judge_commits()
        await back(self.place.stack, name, replica, after=pid)

    async def _freeze(self, name: str) -> None:
        async with frozen(self.place.stack, name, self._replica(name)):
            self.place.assert_in_flight(self.load, f"{name} froze")
            await asyncio.sleep(BEYOND_THE_SESSION)

    async def _roll(self) -> None:
        for name in SERVICES:
            for replica in (1,) if name == "analytics" else (1, 2):
                await restarted(self.place.stack, name, replica)

    def _replica(self, name: str) -> int:
        return 1 if name in {"analytics", "kafka"} else self.dice.choice((1, 2))


@pytest.fixture
async def weather(dice: Random) -> Weather:
    return Weather(dice)


@pytest.fixture
async def place(weather: Weather, tmp_path: Path) -> AsyncIterator[Field]:
    async with field_of(tmp_path / "run", 26060, weather.script) as found:
        yield found


async def test_nothing_is_lost_or_silently_doubled_whatever_dies(
    place: Field, weather: Weather, dice: Random, say: Callable[[str], None]
) -> None:
    """D1 to D3, D25, D29, D38, D41, D97, D100, D104, over and over: I1 to I3, I5 to I8."""
    settings, clock = DrillSettings(), asyncio.get_running_loop().time
    began, enough = clock(), asyncio.Event()
    async with Load(place.stack, dice, "long", keyed=0.8) as load:
        sending = load.begin(load.flow(PER_SECOND, enough))
        campaign = Campaign(place, load, dice)
        await campaign.run(settings.drill_kills)
        enough.set()
        await sending
        await load.run(max(0, settings.drill_mails - load.begun), at_once=40)
        faults = await place.verdict(load, within=300)
        say(place.figures(load))
        say(f"{dict(campaign.made)}, the sink's faults {dict(weather.met)}, {clock() - began:.0f} s")
        assert faults == []
        assert weather.met.keys() == {"busy", "lost", "gone"}
        assert place.unknowns >= weather.met["lost"] > 0
