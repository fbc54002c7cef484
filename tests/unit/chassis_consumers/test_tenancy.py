"""The order in which an owner writes, and what stops it on the way (R22; D29, D30), with a log in memory."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from aiokafka import TopicPartition

from chassis.log import Ack, Incoming, Outgoing
from chassis.ownership import Received, Step, Tenure
from chassis.rounds import Rounds
from chassis.tenancy import FedTenancy, Tools
from schemas.states import FENCE_KEY
from schemas.topics import message_inputs, message_state

INPUTS, STATE = message_inputs("standard"), message_state("standard")
PLACE = TopicPartition(INPUTS.name, 0)
INPUT = (Path(__file__).parents[3] / "schemas" / "examples" / "input.due" / "retry.json").read_bytes()


class World:
    """Everything a tenancy works with, for one partition; `did` says what it did, in order."""

    group = "test"

    def __init__(self) -> None:
        self.did: list[str] = []
        self.lease = 5.0
        self.during: dict[str, Callable[[], None]] = {}  # what happens right after a deed, once
        self.changelog: list[Incoming] = []
        self._apply: Callable[[Incoming], None] | None = None
        self._applied = 0

    def do(self, deed: str) -> None:
        self.did.append(deed)
        self.during.pop(deed, lambda: None)()

    def land(self, key: str, value: bytes | None) -> None:
        self.changelog.append(Incoming(STATE.name, 0, len(self.changelog), 1000, key, value, ()))

    # log, clock

    def broker_now_ms(self) -> int:
        return 1000

    async def append(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        del within
        (record,) = records
        if record.topic == STATE.name:
            self.land(record.key, record.value)
        self.do("fence" if record.key == FENCE_KEY else "state" if record.topic == STATE.name else "outputs")
        return [Ack(record.topic, 0, len(self.changelog) - 1, 1000)]

    def monotonic(self) -> float:
        return 100.0

    async def sleep(self, seconds: float) -> None:
        del seconds
        self.do("sleep")
        await asyncio.sleep(0)

    # tail

    async def follow(self, topic: str, partition: int, apply: Callable[[Incoming], None], start: object) -> None:
        del topic, partition, start
        self._apply, self._applied = apply, 0

    async def unfollow(self, topic: str, partition: int) -> None:
        del topic, partition
        self.do("left")

    async def caught_up(self, topic: str, partition: int, *, within: float) -> None:
        await self.applied(topic, partition, len(self.changelog) - 1, within=within)

    async def applied(self, topic: str, partition: int, offset: int, *, within: float) -> None:
        del topic, partition, offset, within
        assert self._apply is not None
        for record in self.changelog[self._applied :]:
            self._apply(record)
        self._applied = len(self.changelog)

    # member, its consumer, progress, dead letters

    @property
    def consumer(self) -> Any:
        return self

    def remaining(self) -> float:
        return self.lease

    async def stored(self, place: TopicPartition) -> None:
        del place

    async def commit_at(self, place: TopicPartition, offset: int) -> bool:
        self.commit_soon(place, offset)
        return True

    def commit_soon(self, place: TopicPartition, offset: int) -> None:
        del place
        self.do(f"commit {offset}")

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    def seek(self, place: TopicPartition, offset: int) -> None: ...
    def pause(self, *places: TopicPartition) -> None: ...
    def resume(self, *places: TopicPartition) -> None: ...
    def at(self, *where: object) -> None: ...
    def handled(self, count: int) -> None: ...
    def highwater(self, place: TopicPartition) -> int:
        del place
        return 8


class View:
    """An owned partition whose every batch makes one state record and one output."""

    def __init__(self, world: World) -> None:
        self._world = world

    def changelog_start(self) -> int | None:
        return None

    def input_position(self) -> int | None:
        return 7

    def apply(self, record: Incoming) -> None:
        self._world.do(f"applied {record.key}")

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
        del inputs
        self._world.do("decide")
        marked = {"epoch": tenure.epoch, "valid_until_ms": tenure.valid_until_ms}
        state = Outgoing(STATE.name, "k", json.dumps({"data": marked}).encode(), 0)
        return Step([state], [Outgoing("events", "k", b"{}", 0)])

    async def tick(self, tenure: Tenure) -> Step:
        del tenure
        return Step()

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        del input_offset, tenure
        return None

    def close(self) -> None: ...


async def one_input(world: World) -> list[str]:
    """Give one input to a new owner; what it did from then on, until it committed it or left the partition."""
    everything = cast("Any", world)
    tools = Tools(
        everything,
        everything,
        everything,
        everything,
        everything,
        everything,
        lambda *_: View(world),
        "me",
        100,
        Rounds(everything),
    )
    tenancy = FedTenancy(tools, INPUTS, STATE, PLACE)
    owning = asyncio.create_task(tenancy.run())
    async with asyncio.timeout(10):
        while tenancy.view is None:
            await asyncio.sleep(0)
        before = len(world.did)
        tenancy.receive([Incoming(INPUTS.name, 0, 7, 1000, "k", INPUT, ())])
        while not (ends := {"commit 8", "left"} & set(world.did[before:])):
            assert not owning.done()
            await asyncio.sleep(0)
        done = world.did[before:]
        tenancy.leave()
        await owning
    return done[: min(map(done.index, ends)) + 1]


async def test_state_read_back_outputs_commit() -> None:
    assert await one_input(World()) == ["decide", "state", "applied k", "outputs", "commit 8"]


async def test_d29_who_reads_anothers_fence_before_its_state_emits_and_commits_nothing() -> None:
    """The other has taken over while this one decided: its state is void, so what follows from it must not be said."""
    world = World()
    world.during["decide"] = lambda: world.land(FENCE_KEY, b"{}")
    assert await one_input(world) == ["decide", "state", "left"]


async def test_d29_who_reads_anothers_fence_right_behind_its_state_emits_nothing() -> None:
    """The state counts, and its outbox is the other's to emit."""
    world = World()
    world.during["state"] = lambda: world.land(FENCE_KEY, b"{}")
    assert await one_input(world) == ["decide", "state", "applied k", "left"]


async def test_d29_a_lease_that_ends_while_the_owner_decides_stops_it_before_it_writes() -> None:
    world = World()

    def end() -> None:
        world.lease = 0.0
        world.during["left"] = lambda: setattr(world, "lease", 5.0)

    world.during["decide"] = end
    assert await one_input(world) == ["decide", "left"]


async def test_d29_a_lease_that_ends_with_the_state_keeps_the_outputs_back() -> None:
    world = World()

    def end() -> None:
        world.lease = 0.0
        world.during["left"] = lambda: setattr(world, "lease", 5.0)

    world.during["state"] = end
    assert await one_input(world) == ["decide", "state", "applied k", "left"]
