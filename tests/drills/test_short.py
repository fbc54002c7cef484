"""One fault each, on one stack of two replicas: broker away, broker frozen, each service killed, restarted, frozen.

Every drill has a load of its own, which the oracle judges by itself (I1 to I3, I5 to I8), the endpoint and the read side too.
"""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from tests.drills.faults import BEYOND_THE_SESSION, back, broker_away, frozen, restarted, settled
from tests.drills.field import Field
from tests.drills.load import Load
from tests.kit.waiting import until

pytestmark = pytest.mark.timeout(300)  # seconds, on a machine that does other things, too; idle, none takes 60

Say = Callable[[str], None]
REPLICATED = ("ingest", "router", "sender", "webhooks")


async def test_a_broker_killed_under_load(field: Field, dice: Random, say: Say) -> None:
    """D1, D3: every 2xx is in the log; what is asked for while it is away is 503, and never sent."""
    async with Load(field.stack, dice, "d1") as load, Load(field.stack, dice, "d1down", 0, 0, 0) as away:
        sending = load.begin(load.run(200, at_once=25))
        await until(lambda: len(load.log.accepted) >= 40 + dice.randrange(40), within=30)
        async with broker_away(field.stack):
            field.assert_in_flight(load, "the broker died")
            await away.run(20)
        assert (len(away.log.accepted), away.log.statuses["503"]) == (0, 20), away.log.statuses
        await sending
        away.log.refused, away.log.unanswered = away.log.unanswered, set()
        assert load.log.statuses["503"], "no request met the fault"
        assert await field.verdict(load) == []
        assert await field.verdict(away) == []
        say(field.figures(load))


async def test_a_frozen_broker_and_keyed_retries(field: Field, dice: Random, say: Say) -> None:
    """D2: 503 means unknown; the repeat with the same key gets the same mail."""
    async with Load(field.stack, dice, "d2", keyed=1) as load:
        await load.run(20)
        sending = load.begin(load.run(80, at_once=40))
        await until(lambda: len(load.log.accepted) >= 25, within=30, every=0.005)
        async with frozen(field.stack, "kafka"):
            field.assert_in_flight(load, "the broker froze")
            await until(lambda: load.log.statuses["503"] >= 40, within=30)
        await sending
        assert await field.verdict(load) == []
        say(field.figures(load))


@pytest.mark.parametrize("service", ["ingest", "router", "sender", "webhooks", "analytics"])
async def test_a_service_killed_with_mail_in_flight(field: Field, dice: Random, say: Say, service: str) -> None:
    """D25, D97, D100: what it had at hand is done by another, or by its successor."""
    replica = 1 if service == "analytics" else dice.choice((1, 2))
    async with Load(field.stack, dice, f"kill{service}") as load:
        sending = load.begin(load.run(120, at_once=30))
        await until(lambda: len(load.log.accepted) >= 20 + dice.randrange(20), within=30, every=0.005)
        if service == "sender":  # while replies to some final dots are due, which is where only honesty helps
            await field.wait_replies_due(4)
            replica = await field.sender_at_work(2)
        pid = field.stack.kill(service, replica)
        field.assert_in_flight(load, f"{service} died")
        await field.judge_commits()
        await sending
        await back(field.stack, service, replica, after=pid)
        assert await field.verdict(load) == []
        say(field.figures(load))


async def test_a_rolling_restart_under_load(field: Field, dice: Random, say: Say) -> None:
    """D104, D60: SIGTERM to each service's replicas in turn, to all services at once, as a deployment of them all does;
    nothing is lost, and nobody needs an unknown."""
    enough = asyncio.Event()
    async with Load(field.stack, dice, "roll") as load:
        sending = load.begin(load.flow(4, enough))
        for replica, more in ((1, ["analytics"]), (2, [])):
            await field.wait_in_flight(load, least=1)
            await asyncio.gather(*(restarted(field.stack, service, replica) for service in (*REPLICATED, *more)))
        enough.set()
        await sending
        assert load.log.statuses["no answer"] == 0, "a request that had begun was not answered"
        assert await field.verdict(load) == []
        assert field.unknowns == 0
        say(field.figures(load))


@pytest.mark.parametrize("service", ["router", "sender"])
async def test_a_service_frozen_beyond_its_session(field: Field, dice: Random, say: Say, service: str) -> None:
    """D29: another takes over what it held; when it wakes it does not do it once more."""
    async with Load(field.stack, dice, f"freeze{service}") as load:
        sending = load.begin(load.run(100, at_once=10))
        await until(lambda: len(load.log.accepted) >= 20 + dice.randrange(20), within=30, every=0.005)
        async with frozen(field.stack, service, dice.choice((1, 2))):
            field.assert_in_flight(load, f"{service} froze")
            await sending
            await asyncio.sleep(BEYOND_THE_SESSION)
        assert await field.verdict(load) == []
        await settled(field.stack)
        say(field.figures(load))
